#include "services/scheduler/pipeline/live_request.h"

#include <algorithm>
#include <utility>

namespace baton::scheduler {

SequenceRequest MakeSequenceRequest(SequenceId id, const v1::SubmitRequest& request) {
  SequenceRequest made;
  made.id = id;
  made.prompt.assign(request.prompt_token_ids().begin(), request.prompt_token_ids().end());
  made.resumed.assign(request.resumed_token_ids().begin(), request.resumed_token_ids().end());
  made.stop.max_tokens = request.stop().max_tokens();
  made.stop.min_tokens = request.stop().min_tokens();
  made.stop.stop_token_ids.assign(request.stop().stop_token_ids().begin(),
                                  request.stop().stop_token_ids().end());
  made.stop.ignore_eos = request.stop().ignore_eos();
  made.priority = request.priority();
  made.fairness_key = request.fairness_key();
  made.fairness_weight = std::max(1u, request.fairness_weight());
  made.cache_salt = request.cache_salt();
  made.settings_bytes = request.sampling().ByteSizeLong();
  // The logits of every prompt token are needed.
  made.reads_cache = !request.sampling().has_num_prompt_logprobs();
  return made;
}

void KeepPromptLogprobs(const v1::PromptLogprobs& chunk, LiveRequest* live) {
  if (live->first_token || !live->sampling.has_num_prompt_logprobs()) return;
  live->prompt_logprobs.resize(live->num_prompt_tokens - 1);
  for (int i = 0; i < chunk.positions_size(); ++i) {
    const uint64_t position = uint64_t{chunk.begin()} + static_cast<uint64_t>(i);
    if (position == 0 || position >= live->num_prompt_tokens) continue;
    live->prompt_logprobs[position - 1] = chunk.positions(i);
  }
}

v1::SubmitResponse MakeResponse(const SequenceNews& news, v1::PositionLogprobs* logprobs,
                                LiveRequest* live) {
  v1::SubmitResponse response;
  if (news.token.has_value()) {
    v1::GeneratedToken* token = response.add_tokens();
    token->set_token_id(*news.token);
    if (logprobs != nullptr) *token->mutable_logprobs() = std::move(*logprobs);
    if (!live->first_token) {
      for (v1::PositionLogprobs& entry : live->prompt_logprobs) {
        *response.add_prompt_logprobs() = std::move(entry);
      }
      live->prompt_logprobs.clear();
      response.set_cached_prompt_tokens(live->num_cached_prompt_tokens);
      live->sampling.clear_num_prompt_logprobs();  // not again, should the sequence restart
      response.set_queue_us(static_cast<uint64_t>(absl::ToInt64Microseconds(live->queued)));
      live->first_token = true;
    }
  }
  if (!news.ending.has_value()) return response;
  switch (news.ending->cause) {
    case FinishCause::kStop:
      response.set_finish_reason(v1::FINISH_REASON_STOP);
      break;
    case FinishCause::kLength:
      response.set_finish_reason(v1::FINISH_REASON_LENGTH);
      break;
    case FinishCause::kFailed:
    case FinishCause::kInvalid:
    case FinishCause::kExpired:
    case FinishCause::kRefused:
    case FinishCause::kOverloaded:
    case FinishCause::kNotCarried:
      response.set_finish_reason(v1::FINISH_REASON_ERROR);
      break;
  }
  if (news.ending->stop_token.has_value()) response.set_stop_token_id(*news.ending->stop_token);
  return response;
}

}  // namespace baton::scheduler
