// From logits to a token: penalties, filters, a counter-based draw, log-probabilities.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/tensor/tensor_view.h"
#include "kernels/api/reproducible_math.h"

namespace baton::kernels {

// Temperatures below this mean greedy.
inline constexpr float kGreedyTemperature = 1e-5f;
// Bound of penalised logits: dividing by a temperature then cannot overflow.
inline constexpr float kLargestLogit = math::kLargestLogit;

struct TokenBias {
  uint32_t token_id = 0;
  float bias = 0.0f;
};

// One row's parameters; ranges as in protos/baton/v1/types.proto (SamplingParams), checked before
// they come here.
struct SamplingRow {
  float temperature = 0.0f;  // below kGreedyTemperature: greedy
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
  std::span<const uint32_t> masked_tokens;   // cannot be drawn; must leave at least one token
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

// Draws one token per row. Steps, each one correctly rounded float32 operation per element, so that
// the same logits give the same token on every backend (kernels/api/reproducible_math.h):
//  1. v = logit; v += bias for each entry of logit_bias, in order; tokens outside allowed_tokens
//     (unless that is empty) and those of masked_tokens drop out.
//  2. Tokens of prompt or answer: v = v > 0 ? v / repetition_penalty : v * repetition_penalty. Then
//     tokens of the answer, `count` times in it: v -= frequency_penalty * count, v -=
//     presence_penalty. Then v is clamped to +-kLargestLogit.
//  3. temperature < kGreedyTemperature: the largest v wins, the lowest id among equals. Done.
//  4. z = v / temperature; d = z - max z; mass = SoftmaxMass(d). Tokens are ordered by d, largest
//     first, then by id.
//  5. top_k: the first top_k tokens stay.
//  6. top_p < 1: of these a token stays while the mass before it is < top_p times their total mass,
//     compared in double.
//  7. min_p: a token stays if ExpNonPositive(d) >= min_p.
//  8. The largest d + GumbelNoise(seed, position, id) wins, the lowest id among equals.
// No row depends on another, on chunking or on threads. A row that holds NaN or an infinity gets
// finite = false. Log-probabilities are of the raw logits: logit - max - log(sum of masses / 2^40)
// in double, rounded once; rank 1 is the largest logit, ties by lower id. Source: Salmon et al.
// 2011 (Philox); Gumbel-max. Shapes: logits [rows, vocabulary] float32, not changed; results
// [rows].
struct SampleArgs {
  TensorView logits;
  std::span<const SamplingRow> rows;
  std::span<SampleResult> results;
};

// Log-probability of `targets[r]` in row r (result.token; token_id is the target) and the num_top
// best tokens: for prompt log-probabilities.
struct ScoreTokensArgs {
  TensorView logits;
  std::span<const uint32_t> targets;
  uint32_t num_top = 0;
  std::span<SampleResult> results;
};

}  // namespace baton::kernels
