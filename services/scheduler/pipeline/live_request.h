// What the step loop keeps of one Submit besides the core's sequence: its stream and what only the
// stages and the caller understand.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "protos/baton/v1/scheduling.pb.h"
#include "protos/baton/v1/stage.pb.h"
#include "services/scheduler/core/schedule.h"
#include "services/scheduler/pipeline/monotonic_time.h"
#include "services/scheduler/pipeline/token_sink.h"

namespace baton::scheduler {

struct LiveRequest {
  std::shared_ptr<TokenSink> sink;
  std::string name;  // of the request, for logs
  v1::SamplingParams sampling;
  MonotonicTime submitted;
  uint32_t num_prompt_tokens = 0;
  uint32_t num_cached_prompt_tokens = 0;  // found when it first began
  absl::Duration queued;                  // from submission to the first step
  bool started = false;                   // took part in a step
  bool first_token = false;               // was sent
  // Entry i speaks of prompt token i + 1; empty unless asked for. Sent with the first token.
  std::vector<v1::PositionLogprobs> prompt_logprobs;
};

// The core's request; `prompt_token_ids` and the rest of `request` are already checked.
SequenceRequest MakeSequenceRequest(SequenceId id, const v1::SubmitRequest& request);

// Keeps what one chunk says of the prompt's tokens; what was sent or is out of range is dropped.
void KeepPromptLogprobs(const v1::PromptLogprobs& chunk, LiveRequest* live);

// The message that tells the caller `news`. `logprobs` may be null.
v1::SubmitResponse MakeResponse(const SequenceNews& news, v1::PositionLogprobs* logprobs,
                                LiveRequest* live);

}  // namespace baton::scheduler
