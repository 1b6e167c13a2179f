// A layer of experts in FP8: schedule, gate and up with SiLU and requantisation, down, combination.
// Decoding and prefill are the same kernels with tiles of other widths; a row's bits are the same.
#pragma once

#include <cstdint>
#include <cuda.h>
#include <cuda_runtime.h>

#include "kernels/cuda/plan/expert_plan.h"

namespace baton::kernels::cuda {

// The rows of a step in device memory (plan/expert_plan.h).
struct ExpertRows {
  int32_t* pair_of_row = nullptr;   // [tokens * slots]
  ExpertTileRows* tiles = nullptr;  // [MaxExpertTiles(tokens * slots, experts with shared, width)]
  int32_t* num_tiles = nullptr;     // [1]
  int tokens = 0;
  int top_k = 0;
  int num_experts = 0;  // routed
  bool shared = false;
  int width = 0;  // ExpertTokenTile: 8, 16, 32 or 64

  int slots() const { return top_k + (shared ? 1 : 0); }
};

// Fills `rows` from the routed experts [tokens * top_k]; -1 is an empty slot, an expert that is not
// there ends the kernel with an error. Order of rows fixed.
cudaError_t LaunchExpertSchedule(const int32_t* experts, const ExpertRows& rows, bool programmatic,
                                 cudaStream_t stream);

// One expert's weights, in device memory: gate and up [intermediate, hidden], down [hidden,
// intermediate], E4M3 behind maps by WeightForCopy; scales float32, one per 128 x 128, rows
// gate_up_scale_stride and down_scale_stride floats apart. Toolkits differ in the alignment of
// CUtensorMap (64, 128): the kernel's and the host's compiler agree on the size of an entry by
// this.
struct alignas(128) ExpertWeights {
  CUtensorMap gate;
  CUtensorMap up;
  CUtensorMap down;
  const float* gate_scales;
  const float* up_scales;
  const float* down_scales;
  int64_t gate_up_scale_stride;
  int64_t down_scale_stride;
};
static_assert(sizeof(CUtensorMap) == 128 && sizeof(ExpertWeights) == 512);

// One rank's experts, the shared one last, and working memory. hidden and intermediate are
// multiples of 128.
//   x        [tokens, hidden] E4M3, rows x_stride bytes apart; x_scales [hidden / 128]
//            [x_scale_stride], a token's at its index
//   inner    [tokens * slots, intermediate] E4M3 in order of rows; inner_scales
//            [intermediate / 128][inner_scale_stride]
//   pair_out [tokens * slots, hidden] float32 in order of pairs, rows pair_stride elements apart (a
//            multiple of 4)
// Numerics: gate and up in float32, silu(gate) * up rounded to bfloat16, then to E4M3 with a scale
// per 128; sums as LaunchBlockGemm.
struct ExpertGemmArgs {
  const ExpertWeights* experts = nullptr;  // device, [num_experts (+ 1 shared)]
  const uint8_t* x = nullptr;
  int64_t x_stride = 0;
  const float* x_scales = nullptr;
  int64_t x_scale_stride = 0;
  uint8_t* inner = nullptr;
  float* inner_scales = nullptr;
  int64_t inner_scale_stride = 0;
  float* pair_out = nullptr;
  int64_t pair_stride = 0;
  int hidden = 0;
  int intermediate = 0;
  ExpertRows rows;
  bool programmatic = false;
};

// inner = quantised silu(gate x) * (up x) of every row. tokens = 0 does nothing, here and below.
cudaError_t LaunchExpertGateUp(const ExpertGemmArgs& args, cudaStream_t stream);

// pair_out = down inner of every row's pair.
cudaError_t LaunchExpertDown(const ExpertGemmArgs& args, cudaStream_t stream);

// out[t] = sum over slots in order of weight * pair_out, then the shared expert's; float32.
// pair_out dense; slot_weights, experts [tokens * top_k]; out [tokens, hidden], rows out_stride
// elements apart (a multiple of 4).
struct ExpertCombineArgs {
  const float* pair_out = nullptr;
  const int32_t* experts = nullptr;
  const float* slot_weights = nullptr;
  float* out = nullptr;
  int64_t out_stride = 0;
  int hidden = 0;
  int tokens = 0;
  int top_k = 0;
  bool shared = false;
  bool programmatic = false;
};
cudaError_t LaunchExpertCombine(const ExpertCombineArgs& args, cudaStream_t stream);

}  // namespace baton::kernels::cuda
