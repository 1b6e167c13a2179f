// From logits to a token: penalties, filters, a counter-based draw, log-probabilities.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/tensor/tensor_view.h"

namespace baton::kernels {

struct TokenBias {
  uint32_t token_id = 0;
  float bias = 0.0f;
};

// One row's parameters; ranges as in protos/baton/v1/types.proto (SamplingParams), checked before
// they come here.
struct SamplingRow {
  float temperature = 0.0f;  // 0: greedy
  float top_p = 1.0f;
  uint32_t top_k = 0;
  float min_p = 0.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  float repetition_penalty = 1.0f;
  uint64_t seed = 0;
  uint32_t position = 0;                    // of the token to be drawn, in its sequence
  std::span<const uint32_t> prompt_tokens;  // for repetition_penalty
  std::span<const uint32_t> answer_tokens;  // for all penalties
  std::span<const TokenBias> logit_bias;
  std::span<const uint32_t> allowed_tokens;  // empty: all
  bool logprobs = false;
  uint32_t num_top_logprobs = 0;
};

struct TokenScore {
  uint32_t token_id = 0;
  float logprob = 0.0f;
  uint32_t rank = 0;  // 1 is the most likely
};

struct SampleResult {
  uint32_t token_id = 0;
  bool finite = true;  // false: a logit was NaN or infinite; token_id is meaningless
  TokenScore token;    // if logprobs
  std::vector<TokenScore>
      top;  // if logprobs: num_top_logprobs entries, best first, ties by lower id
};

// Draws one token per row.
// Order: logit_bias and allowed_tokens, penalties, temperature, top_k, top_p, min_p, draw. Greedy
// takes the largest logit (lowest id among equals) after bias, allowed_tokens and penalties.
// Log-probabilities are of the raw logits. The draw is argmax over the kept tokens of (logit /
// temperature + Gumbel noise), the noise of a token being a function of (seed, position, token id)
// alone through Philox4x32-10: no row depends on another, on chunking or on threads. Source: Salmon
// et al. 2011 (Philox); Gumbel-max. Shapes: logits [rows, vocabulary] float32, not changed; results
// [rows].
struct SampleArgs {
  TensorView logits;
  std::span<const SamplingRow> rows;
  std::span<SampleResult> results;
};

// Log-probability of `targets[r]` in row r and the num_top best tokens: for prompt
// log-probabilities.
struct ScoreTokensArgs {
  TensorView logits;
  std::span<const uint32_t> targets;
  uint32_t num_top = 0;
  std::span<SampleResult> results;
};

}  // namespace baton::kernels
