// Launches of sampling.cu: draws and log-probabilities, the same tokens as on every backend.
#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>

#include "kernels/cuda/plan/draw_plan.h"

namespace baton::kernels::cuda {

// What a row's block finds. Log-probabilities are finished by the host, in double, from the raw
// logits and the sum of masses, which is exact.
struct DrawOutcome {
  uint32_t token_id = 0;  // kNoToken: none was allowed
  int32_t finite = 1;
  float logit = 0.0f;    // raw, of the token
  uint32_t rank = 0;     // of the token; 1 is the largest raw logit
  float largest = 0.0f;  // raw logit
  int32_t num_top = 0;   // entries at tops, in no order
  uint64_t total_mass = 0;
};
inline constexpr uint32_t kNoToken = 0xffffffffu;

struct TopToken {
  uint32_t token_id = 0;
  float logit = 0.0f;
};

// In device memory; one block per row.
struct DrawLaunch {
  const float* logits = nullptr;
  int64_t logits_stride = 0;
  int32_t vocabulary = 0;
  int32_t num_rows = 0;
  const DrawParams* rows = nullptr;
  const DrawEdit* edits = nullptr;
  const float* biases = nullptr;
  const uint32_t* tokens = nullptr;
  float* values = nullptr;   // [num_rows, vocabulary], scratch
  uint32_t* kept = nullptr;  // [num_rows, (vocabulary + 31) / 32], scratch
  TopToken* tops = nullptr;  // [num_rows, most_top]
  int32_t most_top = 0;
  DrawOutcome* outcomes = nullptr;  // [num_rows]
};

void LaunchDraws(const DrawLaunch& launch, cudaStream_t stream);

// Scores targets[r] in row r and the num_top best tokens; `rows`, lists and scratch stay unused.
void LaunchScores(const DrawLaunch& launch, const uint32_t* targets, int32_t num_top,
                  cudaStream_t stream);

}  // namespace baton::kernels::cuda
