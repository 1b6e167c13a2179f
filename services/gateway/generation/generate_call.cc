#include "services/gateway/generation/generate_call.h"

#include <chrono>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

#include "services/gateway/text/answer_order.h"

namespace baton::gateway {
namespace {

MonotonicTime Now() { return std::chrono::steady_clock::now(); }

}  // namespace

GenerateCall::GenerateCall(SchedulerClient& scheduler, const Tokenizer& tokenizer,
                           GatewayMetrics& metrics, SequenceObserver& observer, SequenceSpec spec)
    : scheduler_(scheduler),
      observer_(observer),
      spec_(std::move(spec)),
      text_(tokenizer, std::move(spec_.text)),
      meter_(metrics.vllm(), spec_.arrival,
             static_cast<uint32_t>(spec_.submit.prompt_token_ids_size()),
             spec_.submit.stop().max_tokens()) {
  usage_.num_prompt_tokens = static_cast<uint32_t>(spec_.submit.prompt_token_ids_size());
}

GenerateCall::~GenerateCall() {
  if (stream_ != nullptr && !ended_) meter_.OnEnd(Now(), v1::FINISH_REASON_ABORT);
}

void GenerateCall::Start() {
  meter_.OnSubmitted(Now());
  stream_ = scheduler_.Submit(spec_.submit, spec_.options, *this);
}

void GenerateCall::SetPaused(bool paused) {
  if (stream_ != nullptr && !ended_) stream_->SetPaused(paused);
}

void GenerateCall::OnResponses(std::vector<v1::SubmitResponse>& responses) {
  if (ended_) return;
  SequenceUpdate update;
  update.first = usage_.num_generated_tokens == 0;
  for (v1::SubmitResponse& response : responses) {
    if (!Take(response, &update)) break;
  }
  if (!update.tokens.empty()) {
    meter_.OnTokens(Now(), static_cast<uint32_t>(update.tokens.size()));
  }
  const bool ends = update.finish_reason != v1::FINISH_REASON_UNSPECIFIED;
  if (ends) {
    ended_ = true;
    meter_.OnEnd(Now(), update.finish_reason);
  }
  if (ends || !update.tokens.empty()) observer_.OnUpdate(spec_.index, update);
}

bool GenerateCall::Take(v1::SubmitResponse& response, SequenceUpdate* update) {
  if (response.prompt_logprobs_size() > 0) {
    auto& logprobs = *response.mutable_prompt_logprobs();
    update->prompt_logprobs.assign(std::make_move_iterator(logprobs.begin()),
                                   std::make_move_iterator(logprobs.end()));
  }
  if (response.cached_prompt_tokens() > 0) {
    usage_.num_cached_tokens = response.cached_prompt_tokens();
    meter_.SetCachedTokens(usage_.num_cached_tokens);
  }
  if (response.queue_us() > 0) meter_.SetQueued(absl::Microseconds(response.queue_us()));
  for (v1::GeneratedToken& token : *response.mutable_tokens()) {
    TakeToken(std::move(token), update);
    if (!text_.stopped()) continue;
    update->stop_string = std::string(text_.matched_stop());
    stream_.reset();  // cancels: the scheduler does not know about strings
    Finish(v1::FINISH_REASON_STOP, update);
    return false;
  }
  switch (response.finish_reason()) {
    case v1::FINISH_REASON_UNSPECIFIED:
      return true;
    case v1::FINISH_REASON_STOP:
    case v1::FINISH_REASON_LENGTH:
      if (response.has_stop_token_id()) update->stop_token_id = response.stop_token_id();
      if (stream_ != nullptr) stream_->Finish();
      Finish(response.finish_reason(), update);
      return false;
    default:
      failing_ = true;
      return false;
  }
}

void GenerateCall::TakeToken(v1::GeneratedToken&& token, SequenceUpdate* update) {
  ++usage_.num_generated_tokens;
  TextDelta delta;
  text_.Push(token.token_id(), &delta);
  usage_.num_reasoning_tokens = text_.num_reasoning_tokens();
  Append(std::move(delta), update);
  update->tokens.push_back(std::move(token));
}

void GenerateCall::Append(TextDelta&& delta, SequenceUpdate* update) {
  update->reasoning.append(delta.reasoning);
  AppendInOrder(delta.content, std::move(delta.tool_calls), &update->content, &update->tool_calls);
}

void GenerateCall::Finish(v1::FinishReason reason, SequenceUpdate* update) {
  TextDelta delta;
  text_.Finish(reason == v1::FINISH_REASON_STOP, &delta);
  Append(std::move(delta), update);
  // Text that was held back may complete a stop string only now.
  if (update->stop_string.empty() && text_.stopped()) {
    update->stop_string = std::string(text_.matched_stop());
    reason = v1::FINISH_REASON_STOP;
  }
  update->finish_reason = reason;
}

void GenerateCall::OnDone(const absl::Status& status) {
  if (ended_) return;
  if (!status.ok()) return Fail(status);
  Fail(failing_ ? absl::UnavailableError("the scheduler aborted the sequence")
                : absl::InternalError("the scheduler ended the stream before the sequence"));
}

void GenerateCall::Fail(const absl::Status& status) {
  ended_ = true;
  meter_.OnEnd(Now(), v1::FINISH_REASON_ERROR);
  observer_.OnFailure(spec_.index, status);
}

}  // namespace baton::gateway
