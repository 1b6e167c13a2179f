#include "services/gateway/calls/inference_call.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "common/log/log.h"
#include "common/rpc/status_conversion.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/calls/inference_request.h"

namespace baton::gateway {
namespace {

// Larger requests are encoded beside the loop.
constexpr size_t kLongRequestBytes = 16 << 10;

}  // namespace

InferenceCall::InferenceCall(const GatewayContext& context,
                             grpc::CallbackServerContext* server_context,
                             const v1::GenerateRequest* request)
    : context_(context),
      server_context_(server_context),
      request_(request),
      arrival_(absl::Now()),
      arrival_tick_(std::chrono::steady_clock::now()) {
  context_.loop.Post([this] { Start(); });
}

absl::StatusOr<ApiCaller> IdentifyCaller(const ApiKeys& keys,
                                         const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("authorization");
  if (found == metadata.end()) return keys.Identify("");
  return keys.Identify(absl::string_view(found->second.data(), found->second.size()));
}

void InferenceCall::Start() {
  const auto caller = IdentifyCaller(context_.api_keys, *server_context_);
  if (!caller.ok()) return End(caller.status());
  caller_ = caller->name;
  if (absl::Status refused = context_.gate.Check(caller_, /*priority=*/0, arrival_tick_);
      !refused.ok()) {
    context_.metrics.CountEarlyRefusal();
    return End(refused);
  }
  auto slot = context_.slots.Acquire(caller->name);
  if (!slot.ok()) return End(slot.status());
  slot_.emplace(std::move(*slot));
  context_.metrics.SetLiveRequests(context_.slots.num_taken());
  const absl::Time deadline =
      std::min(absl::FromChrono(server_context_->deadline()), arrival_ + context_.request_timeout);
  const RequestScope scope{.id = request_->request_id(),
                           .caller = *caller,
                           .arrival = arrival_,
                           .arrival_tick = arrival_tick_,
                           .deadline = deadline};
  const auto prepare = [this, scope] { return PrepareInference(context_, *request_, scope); };
  const size_t num_bytes = request_->ByteSizeLong();
  if (num_bytes <= kLongRequestBytes) return Run(prepare());
  // Neither this object nor the request goes away before Finish, which only the loop calls, and
  // does not call while `text_job_` is set.
  text_job_ = std::make_shared<TextJob>();
  text_job_->deadline = deadline;
  const auto work = [this, prepare, job = text_job_] {
    const absl::Status wanted = job->CheckWanted();
    auto spec = wanted.ok() ? std::make_shared<absl::StatusOr<SequenceSpec>>(prepare())
                            : std::make_shared<absl::StatusOr<SequenceSpec>>(wanted);
    context_.loop.Post([this, spec] {
      text_job_.reset();
      if (!end_status_) return Run(std::move(*spec));
      ReleaseSlot();  // cancelled meanwhile
      WriteNext();
    });
  };
  if (absl::Status queued = context_.text_queue.Post(num_bytes, work); !queued.ok()) {
    text_job_.reset();
    End(queued);
  }
}

void InferenceCall::Run(absl::StatusOr<SequenceSpec> spec) {
  if (end_status_) return;
  if (!spec.ok()) return End(spec.status());
  if (absl::Status accepting = context_.group.CheckAccepting(); !accepting.ok()) {
    return End(accepting);
  }
  sequence_ = std::make_unique<GenerateCall>(context_.scheduler, *context_.model.text.tokenizer,
                                             context_.metrics, *this, std::move(*spec));
  sequence_->Start();
}

void InferenceCall::OnUpdate(size_t, SequenceUpdate& update) {
  if (end_status_) return;
  v1::GenerateResponse response = MakeGenerateResponse(update);
  response.set_sequence_number(next_sequence_number_++);
  const bool ends = response.finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
  if (ends) {
    const SequenceUsage& usage = sequence_->usage();
    response.mutable_usage()->set_prompt_tokens(usage.num_prompt_tokens);
    response.mutable_usage()->set_completion_tokens(usage.num_generated_tokens);
    response.mutable_usage()->set_cached_prompt_tokens(usage.num_cached_tokens);
  }
  queue_.push_back(std::move(response));
  if (ends) return End(absl::OkStatus());
  if (queue_.size() >= kMaxQueued) {
    paused_ = true;
    sequence_->SetPaused(true);
  }
  WriteNext();
}

void InferenceCall::OnFailure(size_t, const absl::Status& status) {
  context_.gate.Learn(caller_, /*priority=*/0, status, std::chrono::steady_clock::now());
  End(status);
}

void InferenceCall::WriteNext() {
  if (writing_ || finished_ || text_job_ != nullptr) return;
  if (!queue_.empty()) {
    writing_ = true;
    StartWrite(&queue_.front());
    return;
  }
  if (!end_status_) return;
  finished_ = true;
  if (const auto delay = RetryAfter(*end_status_); delay) {
    server_context_->AddTrailingMetadata("retry-after-ms",
                                         absl::StrCat(absl::ToInt64Milliseconds(*delay)));
  }
  Finish(ToGrpcStatus(*end_status_));
}

void InferenceCall::End(const absl::Status& status) {
  if (end_status_) return;
  end_status_ = status;
  if (!status.ok()) {
    const std::string reason = RefusalReason(status);
    context_.metrics.CountRefusal(reason.empty() ? absl::StatusCodeToString(status.code())
                                                 : reason);
  }
  if (context_.log_requests) {
    BATON_LOG(INFO) << "Generate " << request_->request_id() << " "
                    << absl::StatusCodeToString(status.code())
                    << " prompt=" << (sequence_ ? sequence_->usage().num_prompt_tokens : 0)
                    << " generated=" << (sequence_ ? sequence_->usage().num_generated_tokens : 0)
                    << " total_ms=" << absl::ToInt64Milliseconds(absl::Now() - arrival_) << " "
                    << status.message();
  }
  if (sequence_ != nullptr) {
    context_.metrics.vllm().RecordRequest(1, sequence_->usage().num_generated_tokens);
  }
  sequence_.reset();  // cancels it if it still runs
  if (text_job_ != nullptr) {
    text_job_->cancelled = true;  // the worker gives the request back, and then the slot goes
  } else {
    ReleaseSlot();
  }
  WriteNext();
}

void InferenceCall::ReleaseSlot() {
  slot_.reset();
  context_.metrics.SetLiveRequests(context_.slots.num_taken());
}

void InferenceCall::OnWriteDone(bool ok) {
  context_.loop.Post([this, ok] {
    writing_ = false;
    queue_.pop_front();
    if (!ok) {
      queue_.clear();
      return end_status_ ? WriteNext() : End(absl::CancelledError("the client is gone"));
    }
    if (paused_ && queue_.size() < kMaxQueued / 4 && sequence_ != nullptr) {
      paused_ = false;
      sequence_->SetPaused(false);
    }
    WriteNext();
  });
}

void InferenceCall::OnCancel() {
  context_.loop.Post([this] {
    if (!writing_) queue_.clear();
    if (end_status_) return;
    context_.metrics.CountDisconnect();
    End(absl::CancelledError("the client cancelled the call"));
  });
}

void InferenceCall::OnDone() {
  // Nothing is posted after this: the loop runs it last.
  context_.loop.Post([this] { delete this; });
}

}  // namespace baton::gateway
