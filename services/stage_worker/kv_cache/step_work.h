// One step as the scheduler commands it, in plain structs: what protos/baton/v1/stage.proto says
// under StepCommand, decoded. Ranges of sampling values are checked where they are decoded;
// everything that refers to sequences, positions and blocks is checked by SequenceTable.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/structured_output/constraint.h"
#include "kernels/api/sampling.h"

namespace baton::stage {

// As StructuredOutput in types.proto.
struct StructuredSettings {
  structured::Constraint constraint;
  std::optional<uint32_t> begin_after_token_id;
  std::vector<uint32_t> end_token_ids;  // at least one
};

// As in types.proto.
struct ReasoningBudget {
  uint32_t num_tokens = 0;
  uint32_t end_token_id = 0;
  std::optional<uint32_t> begin_after_token_id;
};

// As SamplingParams in types.proto.
struct SamplingSettings {
  float temperature = 0.0f;  // 0: greedy
  float top_p = 1.0f;
  uint32_t top_k = 0;
  float min_p = 0.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  float repetition_penalty = 1.0f;
  uint64_t seed = 0;
  bool logprobs = false;
  uint32_t num_top_logprobs = 0;
  std::optional<uint32_t> num_prompt_logprobs;
  std::vector<kernels::TokenBias> logit_bias;
  std::vector<uint32_t> allowed_token_ids;
  uint32_t min_tokens = 0;  // while the answer has fewer, masked_token_ids cannot be drawn
  std::vector<uint32_t> masked_token_ids;
  std::shared_ptr<const StructuredSettings> structured;  // null: any text
  std::vector<std::vector<uint32_t>> banned_sequences;   // none is empty
  std::optional<ReasoningBudget> reasoning_budget;

  // Whether the draw depends on the tokens so far: on the answer's, and on the prompt's too.
  bool needs_history() const { return answer_limits_draws() || needs_prompt(); }
  // Whether what may be drawn depends on the answer's tokens.
  bool answer_limits_draws() const {
    return structured != nullptr || !banned_sequences.empty() || reasoning_budget.has_value();
  }
  bool needs_prompt() const {
    return presence_penalty != 0.0f || frequency_penalty != 0.0f || repetition_penalty != 1.0f;
  }
};

struct NewSequenceWork {
  uint64_t sequence_id = 0;
  std::vector<uint32_t> token_ids;  // prompt, then the answer so far
  uint32_t num_prompt_tokens = 0;   // [1, token_ids.size()]
  SamplingSettings sampling;
  // First tokens whose KV other rows of this epoch have put into the first blocks of the first
  // chunk: whole blocks, and not the last token.
  uint32_t num_cached_tokens = 0;
};

struct ChunkWork {
  uint64_t sequence_id = 0;
  uint32_t begin = 0;       // position of the first token
  uint32_t num_tokens = 0;  // at least 1, with draft_token_ids
  std::vector<uint32_t> appended_token_ids;
  std::vector<uint32_t> new_block_ids;
  bool sample = false;
  // The chunk's one token is what this earlier step samples for the sequence; 0: it is known.
  uint64_t feedback_step_id = 0;
  // Guesses of what follows the known tokens: the chunk's last rows. Each row of a guess samples
  // too.
  std::vector<uint32_t> draft_token_ids;
};

struct StepWork {
  uint64_t epoch = 0;
  uint64_t step_id = 0;
  std::vector<NewSequenceWork> new_sequences;
  std::vector<ChunkWork> chunks;  // rows of the batch in this order
  std::vector<uint64_t> finished_sequence_ids;
  bool work_waited = false;  // sequences ran or waited since the step before it was formed
};

}  // namespace baton::stage
