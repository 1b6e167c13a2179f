#include "kernels/cuda/float8_experts.h"

#include <algorithm>

#include "common/log/check.h"
#include "kernels/cuda/cuda_weight.h"
#include "kernels/cuda/expert_gemm.h"
#include "kernels/cuda/launches/cuda_stream.h"
#include "kernels/cuda/launches/quantise.h"
#include "kernels/cuda/plan/expert_plan.h"

namespace baton::kernels::cuda {
namespace {

bool TakesNetwork(const FeedForwardWeights& weights, int64_t hidden, int64_t intermediate) {
  const WeightLayout& gate = Unpack(weights.gate).layout();
  const WeightLayout& up = Unpack(weights.up).layout();
  const WeightLayout& down = Unpack(weights.down).layout();
  return gate.has_whole_blocks() && up.has_whole_blocks() && down.has_whole_blocks() &&
         gate.k == hidden && up.k == hidden && down.n == hidden && gate.n == intermediate &&
         up.n == intermediate && down.k == intermediate;
}

// A step's working memory, cut from the scratch in this order.
struct ExpertMemory {
  ExpertMemory(const ExpertShape& shape, DeviceScratch& scratch) {
    scratch.Begin(ExpertScratchBytes(
        shape, [](int64_t bytes) { return DeviceScratch::Aligned(static_cast<size_t>(bytes)); }));
    const ExpertScratch sizes = ExpertScratchOf(shape);
    codes = scratch.Cut<uint8_t>(sizes.codes);
    scales = scratch.Cut<float>(sizes.scales);
    pair_of_row = scratch.Cut<int32_t>(sizes.pairs);
    tiles = scratch.Cut<ExpertTileRows>(sizes.tiles);
    num_tiles = scratch.Cut<int32_t>(1);
    inner = scratch.Cut<uint8_t>(sizes.inner);
    inner_scales = scratch.Cut<float>(sizes.inner_scales);
    pair_out = sizes.pair_out == 0 ? nullptr : scratch.Cut<float>(sizes.pair_out);
  }

  uint8_t* codes;
  float* scales;
  int32_t* pair_of_row;
  ExpertTileRows* tiles;
  int32_t* num_tiles;
  uint8_t* inner;
  float* inner_scales;
  float* pair_out;  // null: pairs are the rows of the output
};

ExpertShape ShapeOf(const ExpertsArgs& args, int64_t tokens) {
  const FeedForwardWeights& first =
      args.expert_weights.empty() ? args.shared : args.expert_weights.front();
  return {.tokens = tokens,
          .top_k = args.expert_weights.empty() ? 0 : args.top_k,
          .num_experts = static_cast<int64_t>(args.expert_weights.size()),
          .shared = args.shared.gate != nullptr,
          .hidden = args.x.columns,
          .intermediate = first.gate->n()};
}

// Tokens begin .. begin + shape.tokens - 1.
void RunTokens(const ExpertsArgs& args, int64_t begin, const ExpertShape& shape,
               const ExpertWeights* experts, const ExpertMemory& memory, cudaStream_t stream) {
  const int64_t slots = shape.slots();
  const auto tokens = static_cast<int>(shape.tokens);
  LaunchQuantise(args.x.Rows(begin, shape.tokens), memory.codes, memory.scales, stream);

  ExpertGemmArgs gemm;
  gemm.rows = {.pair_of_row = memory.pair_of_row,
               .tiles = memory.tiles,
               .num_tiles = memory.num_tiles,
               .tokens = tokens,
               .top_k = static_cast<int>(shape.top_k),
               .num_experts = static_cast<int>(shape.num_experts),
               .shared = shape.shared,
               .width = shape.width()};
  const int32_t* choices = args.experts.data() + begin * shape.top_k;
  CheckCuda(LaunchExpertSchedule(choices, gemm.rows, true, stream), "schedule of experts");

  auto* out = static_cast<float*>(args.out.data) + begin * args.out.row_stride;
  gemm.experts = experts;
  gemm.x = memory.codes;
  gemm.x_stride = shape.hidden;
  gemm.x_scales = memory.scales;
  gemm.x_scale_stride = shape.tokens;
  gemm.inner = memory.inner;
  gemm.inner_scales = memory.inner_scales;
  gemm.inner_scale_stride = shape.tokens * slots;
  gemm.pair_out = memory.pair_out != nullptr ? memory.pair_out : out;
  gemm.pair_stride = memory.pair_out != nullptr ? shape.hidden : args.out.row_stride;
  gemm.hidden = static_cast<int>(shape.hidden);
  gemm.intermediate = static_cast<int>(shape.intermediate);
  gemm.programmatic = true;
  CheckCuda(LaunchExpertGateUp(gemm, stream), "gate and up of experts");
  CheckCuda(LaunchExpertDown(gemm, stream), "down of experts");
  if (memory.pair_out == nullptr) return;

  ExpertCombineArgs combine;
  combine.pair_out = memory.pair_out;
  combine.experts = choices;
  combine.slot_weights = args.slot_weights.data() + begin * shape.top_k;
  combine.out = out;
  combine.out_stride = args.out.row_stride;
  combine.hidden = static_cast<int>(shape.hidden);
  combine.tokens = tokens;
  combine.top_k = static_cast<int>(shape.top_k);
  combine.shared = shape.shared;
  combine.programmatic = true;
  CheckCuda(LaunchExpertCombine(combine, stream), "combination of experts");
}

}  // namespace

bool TakesFloat8Experts(const ExpertsArgs& args) {
  const bool has_shared = args.shared.gate != nullptr;
  const size_t num_experts = args.expert_weights.size() + (has_shared ? 1 : 0);
  if (num_experts == 0 || num_experts > kMaxExperts) return false;
  const FeedForwardWeights& first =
      args.expert_weights.empty() ? args.shared : args.expert_weights.front();
  const int64_t hidden = args.x.columns;
  const int64_t intermediate = first.gate->n();
  return args.x.type == DataType::kBFloat16 && IsExpertWidth(hidden) &&
         IsExpertWidth(intermediate) && args.x.row_stride % 4 == 0 &&
         reinterpret_cast<uintptr_t>(args.x.data) % 8 == 0 && args.out.row_stride % 4 == 0 &&
         reinterpret_cast<uintptr_t>(args.out.data) % 16 == 0 &&
         TakesNetwork(first, hidden, intermediate) &&
         (!has_shared || TakesNetwork(args.shared, hidden, intermediate));
}

void LaunchFloat8Experts(const ExpertsArgs& args, WeightTables& tables, PinnedRing& ring,
                         DeviceScratch& scratch, cudaStream_t stream) {
  BATON_CHECK(args.out.rows == args.x.rows && args.out.columns == args.x.columns &&
              args.out.type == DataType::kFloat32);
  if (args.out.empty()) return;
  const ExpertWeights* experts =
      tables.MappedExperts(args.expert_weights, args.shared, ring, stream);
  const int64_t most = std::min(args.x.rows, kExpertStepTokens);
  const ExpertMemory memory(ShapeOf(args, most), scratch);
  for (int64_t begin = 0; begin < args.x.rows; begin += most) {
    RunTokens(args, begin, ShapeOf(args, std::min(most, args.x.rows - begin)), experts, memory,
              stream);
  }
}

}  // namespace baton::kernels::cuda
