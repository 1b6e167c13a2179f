#include "services/gateway/calls/inference_call.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "common/rpc/status_conversion.h"
#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/admission/request_headers.h"
#include "services/gateway/answers/random_id.h"
#include "services/gateway/calls/inference_request.h"
#include "services/gateway/calls/request_checks.h"

namespace baton::gateway {
namespace {

// Larger requests are encoded beside the loop.
constexpr size_t kLongRequestBytes = 16 << 10;

std::string UsableRequestId(const v1::GenerateRequest& request) {
  if (request.request_id().empty()) return RandomId("gen-");
  return request.request_id().size() <= kMaxRequestIdBytes ? request.request_id() : "";
}

// What the client's metadata say of its trace.
TraceContext TraceOf(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto field = [&metadata](const char* name) {
    const auto found = metadata.find(name);
    return found == metadata.end() ? absl::string_view()
                                   : absl::string_view(found->second.data(), found->second.size());
  };
  return ReadTraceContext(field("traceparent"), field("tracestate"));
}

}  // namespace

InferenceCall::InferenceCall(const GatewayContext& context,
                             grpc::CallbackServerContext* server_context,
                             const v1::GenerateRequest* request)
    : context_(context),
      server_context_(server_context),
      request_(request),
      arrival_(absl::Now()),
      arrival_tick_(std::chrono::steady_clock::now()),
      request_id_(UsableRequestId(*request)) {}

absl::StatusOr<ApiCaller> IdentifyCaller(const ApiKeys& keys,
                                         const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("authorization");
  if (found == metadata.end()) return keys.Identify("");
  return keys.Identify(absl::string_view(found->second.data(), found->second.size()));
}

absl::StatusOr<ApiCaller> InferenceCall::TakePlace() {
  ASSIGN_OR_RETURN(ApiCaller caller, IdentifyCaller(context_.api_keys, *server_context_));
  caller_ = caller;
  const absl::Status refused =
      context_.gate.Check(caller.name, caller.PriorityOf(request_->priority()), arrival_tick_);
  if (!refused.ok()) {
    context_.metrics.CountEarlyRefusal();
    return refused;
  }
  ASSIGN_OR_RETURN(RequestSlots::Slot slot,
                   context_.slots.Acquire(caller.name, caller.limits.num_requests));
  RETURN_IF_ERROR(context_.rate_limits.TakeRequest(caller, context_.rate_clock()));
  num_paid_tokens_ = 0;
  slot_.emplace(std::move(slot));
  context_.metrics.SetLiveRequests(context_.slots.num_taken());
  return caller;
}

void InferenceCall::Start() {
  // Its key pays nothing.
  if (server_context_->IsCancelled()) return Leave(absl::CancelledError("the client is gone"));
  const absl::StatusOr<ApiCaller> caller = TakePlace();
  if (!caller.ok()) return End(caller.status());
  // gRPC speaks of the time of day.
  const absl::Duration client_timeout = absl::FromChrono(server_context_->deadline()) - absl::Now();
  const absl::Time deadline = SteadyNow() + std::min(client_timeout, context_.request_timeout);
  const RequestScope scope{.id = request_id_,
                           .caller = *caller,
                           .arrival = arrival_,
                           .arrival_tick = arrival_tick_,
                           .deadline = deadline,
                           .trace = TraceOf(*server_context_)};
  entry_ = LiveRequests::Entry(&context_.live_requests, caller_.name, request_id_,
                               [this](const absl::Status& reason) { End(reason); });
  const auto prepare = [this, scope] { return PrepareInference(context_, *request_, scope); };
  const size_t num_bytes = request_->ByteSizeLong();
  // A constraint may take 200 ms to compile.
  if (num_bytes <= kLongRequestBytes && !request_->has_constraint()) return Run(prepare());
  // Neither this object nor the request goes away before Finish, which only the loop calls, and
  // does not call while the queue or the worker has the job.
  const auto work = [this, prepare, deadline] {
    const absl::Status wanted = CheckEncodeDeadline(deadline);
    auto spec = wanted.ok() ? std::make_shared<absl::StatusOr<SequenceSpec>>(prepare())
                            : std::make_shared<absl::StatusOr<SequenceSpec>>(wanted);
    context_.loop.Post([this, spec] {
      text_job_ = nullptr;
      if (!end_status_) return Run(std::move(*spec));
      ReleaseSlot();  // cancelled meanwhile
      Conclude();
    });
  };
  const absl::StatusOr<uint64_t> queued = context_.text_queue.Post(caller_.name, num_bytes, work);
  if (!queued.ok()) return End(queued.status());
  text_job_ = std::make_shared<uint64_t>(*queued);
  WatchDeadline(deadline);
}

void InferenceCall::WatchDeadline(absl::Time deadline) {
  const absl::Duration left = deadline - SteadyNow();
  context_.loop.PostAfter(std::clamp(left, absl::ZeroDuration(), TextQueue::kDeadlineWatch),
                          [this, deadline, job = std::weak_ptr<uint64_t>(text_job_)] {
                            if (job.expired() || end_status_) return;
                            const absl::Status in_time = CheckEncodeDeadline(deadline);
                            if (!in_time.ok()) return End(in_time);
                            WatchDeadline(deadline);
                          });
}

void InferenceCall::Run(absl::StatusOr<SequenceSpec> spec) {
  if (end_status_) return;
  if (!spec.ok()) return End(spec.status());
  if (absl::Status accepting = context_.group.CheckAccepting(); !accepting.ok()) {
    return End(accepting);
  }
  const auto num_tokens = static_cast<uint64_t>(spec->submit.prompt_token_ids_size());
  const absl::Status paid =
      context_.rate_limits.TakePrompt(caller_, num_tokens, context_.rate_clock());
  if (!paid.ok()) return End(paid);
  num_paid_tokens_ = num_tokens;
  sequence_ = std::make_unique<GenerateCall>(context_.scheduler, *context_.model.text.tokenizer,
                                             context_.metrics, *this, std::move(*spec));
  sequence_->Start();
}

void InferenceCall::OnUpdate(size_t, SequenceUpdate& update) {
  if (end_status_) return;
  ChargeNewTokens();
  v1::GenerateResponse response = MakeGenerateResponse(update);
  response.set_sequence_number(next_sequence_number_++);
  const bool ends = response.finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
  if (ends) {
    const SequenceUsage& usage = sequence_->usage();
    response.mutable_usage()->set_prompt_tokens(usage.num_prompt_tokens);
    response.mutable_usage()->set_completion_tokens(usage.num_generated_tokens);
    response.mutable_usage()->set_cached_prompt_tokens(usage.num_cached_tokens);
  }
  Deliver(std::move(response));
  if (ends) End(absl::OkStatus());
}

void InferenceCall::ChargeNewTokens() {
  const uint32_t num_generated = sequence_->usage().num_generated_tokens;
  if (num_generated == num_charged_tokens_) return;
  context_.rate_limits.ChargeAnswer(caller_, num_generated - num_charged_tokens_,
                                    context_.rate_clock());
  num_charged_tokens_ = num_generated;
}

void InferenceCall::OnFailure(size_t, const absl::Status& status) {
  context_.gate.Learn(caller_.name, caller_.PriorityOf(request_->priority()), status,
                      std::chrono::steady_clock::now());
  End(status);
}

grpc::Status InferenceCall::FinalStatus() {
  if (const auto delay = RetryAfter(*end_status_); delay) {
    server_context_->AddTrailingMetadata("retry-after-ms",
                                         absl::StrCat(absl::ToInt64Milliseconds(*delay)));
  }
  return ToGrpcStatus(*end_status_);
}

void InferenceCall::SetPaused(bool paused) {
  if (sequence_ != nullptr) sequence_->SetPaused(paused);
}

void InferenceCall::Leave(const absl::Status& why) {
  if (end_status_) return;
  context_.metrics.CountDisconnect();
  End(why);
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
    BATON_LOG(INFO) << "Generate " << request_id_ << " " << absl::StatusCodeToString(status.code())
                    << " prompt=" << (sequence_ ? sequence_->usage().num_prompt_tokens : 0)
                    << " generated=" << (sequence_ ? sequence_->usage().num_generated_tokens : 0)
                    << " total_ms="
                    << absl::ToInt64Milliseconds(
                           absl::FromChrono(std::chrono::steady_clock::now() - arrival_tick_))
                    << " " << status.message();
  }
  const uint32_t num_generated = sequence_ ? sequence_->usage().num_generated_tokens : 0;
  if (num_paid_tokens_ && num_generated == 0) {
    context_.rate_limits.GiveBack(caller_, *num_paid_tokens_, status, context_.rate_clock());
  }
  if (sequence_ != nullptr) {
    context_.metrics.vllm().RecordRequest(1, num_generated);
  }
  entry_ = LiveRequests::Entry();
  sequence_.reset();  // cancels it if it still runs
  if (text_job_ != nullptr) {
    // The worker gives the request back if it is at it; then the slot goes.
    if (!context_.text_queue.Remove(*text_job_)) return;
    text_job_ = nullptr;
  }
  ReleaseSlot();
  Conclude();
}

void InferenceCall::ReleaseSlot() {
  slot_.reset();
  context_.metrics.SetLiveRequests(context_.slots.num_taken());
}

// --- Streamed ---

StreamedInference::StreamedInference(const GatewayContext& context,
                                     grpc::CallbackServerContext* server_context,
                                     const v1::GenerateRequest* request)
    : InferenceCall(context, server_context, request) {
  context.loop.Post([this] { Start(); });
}

void StreamedInference::Deliver(v1::GenerateResponse response) {
  queued_bytes_ += response.ByteSizeLong();
  queue_.push_back(std::move(response));
  if (queued_bytes_ >= kMaxQueuedBytes && !paused_) BeginPause();
  WriteNext();
}

void StreamedInference::Conclude() {
  EndPause();
  // What is left waits for a slow reader no longer than a pause.
  last_taken_ = SteadyNow();
  if (!watching_) WatchReader();
  WriteNext();
}

void StreamedInference::BeginPause() {
  paused_ = true;
  paused_bytes_ = queued_bytes_;
  context().metrics.BeginPause(paused_bytes_);
  last_taken_ = SteadyNow();
  if (!watching_) WatchReader();
  SetPaused(true);
}

void StreamedInference::EndPause() {
  if (!std::exchange(paused_, false)) return;
  context().metrics.EndPause(paused_bytes_);
}

void StreamedInference::WatchReader() {
  watching_ = true;
  const absl::Duration patience = last_taken_ + context().stall_limit - SteadyNow();
  context().loop.PostAfter(patience, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    watching_ = false;
    if (!paused_ && !ended()) return;
    if (SteadyNow() < last_taken_ + context().stall_limit) return WatchReader();
    context().metrics.CountStalledClient();
    if (ended()) BATON_LOG(INFO) << "Generate " << request_id() << ": the client stopped reading";
    Leave(absl::CancelledError("the client stopped reading"));
    CancelCall();
  });
}

void StreamedInference::WriteNext() {
  if (writing_ || finished_) return;
  if (!queue_.empty()) {
    writing_ = true;
    StartWrite(&queue_.front());
    return;
  }
  if (!ended()) return;
  finished_ = true;
  Finish(FinalStatus());
}

void StreamedInference::OnWriteDone(bool ok) {
  context().loop.Post([this, ok] {
    writing_ = false;
    queued_bytes_ -= queue_.front().ByteSizeLong();
    queue_.pop_front();
    if (!ok) {
      queue_.clear();
      queued_bytes_ = 0;
      Leave(absl::CancelledError("the client is gone"));
      return WriteNext();
    }
    last_taken_ = SteadyNow();
    if (paused_ && queued_bytes_ < kMaxQueuedBytes / 4) {
      EndPause();
      SetPaused(false);
    }
    WriteNext();
  });
}

void StreamedInference::OnCancel() {
  context().loop.Post([this] {
    if (!writing_) {
      queue_.clear();
      queued_bytes_ = 0;
    }
    Leave(absl::CancelledError("the client cancelled the call"));
  });
}

void StreamedInference::OnDone() {
  // Nothing is posted after this: the loop runs it last.
  context().loop.Post([this] { delete this; });
}

// --- Whole ---

WholeInference::WholeInference(const GatewayContext& context,
                               grpc::CallbackServerContext* server_context,
                               const v1::GenerateRequest* request, v1::GenerateResponse* response)
    : InferenceCall(context, server_context, request), response_(response) {
  context.loop.Post([this] { Start(); });
}

// Texts and lists of pieces are appended, what only the last says is taken over.
void WholeInference::Deliver(v1::GenerateResponse response) {
  num_bytes_ += response.ByteSizeLong();
  const absl::Status fits = CheckWholeAnswer(num_bytes_, context().max_whole_answer_bytes);
  if (!fits.ok()) return End(fits);
  response_->mutable_text()->append(response.text());
  response_->mutable_reasoning_text()->append(response.reasoning_text());
  response.clear_text();
  response.clear_reasoning_text();
  response.clear_sequence_number();
  response_->MergeFrom(response);
}

void WholeInference::OnCancel() {
  context().loop.Post([this] { Leave(absl::CancelledError("the client cancelled the call")); });
}

void WholeInference::OnDone() {
  context().loop.Post([this] { delete this; });
}

}  // namespace baton::gateway
