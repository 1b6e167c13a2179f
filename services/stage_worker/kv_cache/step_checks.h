// The checks of one step that need no look at earlier steps.
#pragma once

#include "absl/status/status.h"

#include "services/stage_worker/kv_cache/step_work.h"

namespace baton::stage {

struct SequenceLimits {
  int64_t vocab_size = 0;
  int64_t max_model_len = 0;       // tokens of one sequence
  int64_t max_step_tokens = 0;     // rows of one step
  int64_t max_step_sequences = 0;  // chunks of one step
  bool draws = true;               // the stage samples: it needs to know what was drawn
  // Drafts of one sequence in a step, at most. Where there are any, nothing is fed back.
  int64_t max_drafts = 0;
  // Positions whose whole block lies in the prompt attend in the expanded form.
  bool expand_prompts = false;
};

// InvalidArgument naming sequence and value: a step beyond the limits, a sequence twice, an empty
// chunk, a prompt that is empty or longer than its tokens, a cached part that is not whole blocks
// or leaves nothing to compute, a token or block out of range.
absl::Status CheckStep(const StepWork& work, const SequenceLimits& limits, int64_t num_blocks);

}  // namespace baton::stage
