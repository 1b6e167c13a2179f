// Choice of experts: sigmoid scores, correction bias for choosing only, groups, top-k.
#pragma once

#include <cstdint>
#include <span>

#include "common/tensor/tensor_view.h"

namespace baton::kernels {

struct RouterParams {
  int64_t num_experts = 0;
  int64_t num_groups = 1;
  int64_t num_kept_groups = 1;
  int64_t top_k = 1;
  bool normalize = true;        // divide the chosen weights by their sum (+ 1e-20)
  float scaling_factor = 1.0f;  // then multiply
};

// score = sigmoid(logit); choice = score + bias. A group's score is the sum of its two best
// choices; the experts of the num_kept_groups best groups compete, the others count as 0 (as
// Hugging Face's implementation has it); the top_k best choices win; weight = score of the chosen.
// Ties go to the lower index. Slots are in descending order of choice. Sigmoid as in
// kernels/api/reproducible_math.h and one rounding per step: the same logits give the same experts
// and weights on every backend.
// Shapes: logits [tokens, num_experts] float32; bias [1, num_experts] float32; experts, weights
// [tokens * top_k]; sequence_rows [tokens] as in StepLayout, or empty: rows of padding choose -1
// with weight 0, so that they cost no expert.
struct SelectExpertsArgs {
  TensorView logits;
  TensorView bias;
  RouterParams params;
  std::span<int32_t> experts;
  std::span<float> weights;
  std::span<const int32_t> sequence_rows = {};

  bool is_padding(int64_t row) const {
    return !sequence_rows.empty() && sequence_rows[static_cast<size_t>(row)] < 0;
  }
};

}  // namespace baton::kernels
