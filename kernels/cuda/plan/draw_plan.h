// What the device is told of a step's draws: the rows' parameters, and the few tokens of each row
// whose logits change, each named once, so that one thread applies all of a token's changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/api/sampling.h"

namespace baton::kernels::cuda {

// Changes of one token's logit, in this order: the biases, the repetition penalty, the penalties of
// tokens of the answer.
struct DrawEdit {
  uint32_t token_id = 0;
  int32_t bias_begin = 0;  // in DrawPlan::biases
  int32_t bias_end = 0;
  int32_t was_seen = 0;      // in prompt or answer
  int32_t answer_count = 0;  // times in the answer
};

// One row, ranges in the plan's lists.
struct DrawParams {
  float temperature = 0.0f;
  float top_p = 1.0f;
  uint32_t top_k = 0;
  float min_p = 0.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  float repetition_penalty = 1.0f;
  uint32_t position = 0;
  uint64_t seed = 0;
  int32_t edit_begin = 0;
  int32_t edit_end = 0;
  int32_t allowed_begin = 0;  // none: all tokens
  int32_t allowed_end = 0;
  int32_t masked_begin = 0;
  int32_t masked_end = 0;
  int32_t scores = 0;   // whether log-probabilities are asked for
  int32_t num_top = 0;  // of them
};

struct DrawPlan {
  std::vector<DrawParams> rows;
  std::vector<DrawEdit> edits;   // of a row together, ascending ids
  std::vector<float> biases;     // of a token together, in the order given
  std::vector<uint32_t> tokens;  // allowed and masked
  int32_t most_top = 0;
};

// Penalties that change nothing leave no edits. `vocabulary` bounds num_top.
DrawPlan PlanDraws(std::span<const SamplingRow> rows, int64_t vocabulary);

// Room that a launch sets aside for its lists (edits, biases, tokens), whatever they are, so that
// no step asks the device for more than the first did.
size_t ListRoom(int64_t vocabulary);

// How many of `rows`, from the first on and at least one, one launch draws: those whose lists fit
// the room. One row's always do if its lists name a token once and biases are no more than tokens.
int64_t RowsOfLaunch(std::span<const SamplingRow> rows, int64_t vocabulary);

}  // namespace baton::kernels::cuda
