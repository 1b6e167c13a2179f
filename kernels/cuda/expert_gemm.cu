// The grouped products: roles, barriers and order of summation as block_gemm_core.cuh; a cluster
// takes 256 rows of one expert's weight for one tile of rows of the step.
//
// Gate and up: the first warpgroup multiplies 128 rows of gate, the second the same 128 of up.
// Behind the cluster's barrier block `rank` finishes tokens rank, rank + splits, ...: a warp per
// token sums the splits (4 columns a lane), applies SiLU, finds the largest of the 128 and
// quantises. Down: 256 rows of the output; sums go to the pair's row. Thread blocks beyond the
// step's tiles leave at once, whole clusters together: nobody waits for them.
#include "kernels/cuda/block_gemm_core.cuh"
#include "kernels/cuda/device/kernel_launch.cuh"
#include "kernels/cuda/expert_gemm.h"

namespace baton::kernels::cuda {
namespace {

// x / (1 + e^-x).
__device__ __forceinline__ float Silu(float x) { return __fdiv_rn(x, 1.0f + expf(-x)); }

// The scales that the two warpgroups' halves of the tile need, a row of the scale matrix each; null
// for weights behind the end.
template <class Tile>
__device__ __forceinline__ void LoadExpertScales(const GemmShared<Tile>& shared, const float* first,
                                                 const float* second, SplitRange range) {
  const int warpgroup = threadIdx.x / 128;
  const float* scales = warpgroup == 0 ? first : second;
  for (int i = threadIdx.x % 128; i < range.num_blocks; i += 128) {
    shared.weight_scales(warpgroup)[i] = scales == nullptr ? 0.0f : scales[range.first_block + i];
  }
}

// Both halves of a product: all threads; on return the splits' sums are readable in the cluster.
template <class Tile, class RowOf>
__device__ __forceinline__ void MultiplyExpert(const GemmShared<Tile>& shared,
                                               const WeightBoxes<Tile>& boxes,
                                               const TokenRows& rows, SplitRange range,
                                               RowOf row_of) {
  if (threadIdx.x >= kConsumerThreads) {
    const int thread = threadIdx.x - kConsumerThreads;
    const uint64_t policy = Tile::kTokens < 64 ? StreamingPolicy() : ReusePolicy();
    if (thread == 0) {
      AcquireMap(boxes.map[0]);
      AcquireMap(boxes.map[1]);
      PrefetchWeights(shared, boxes, range, policy);
    }
    LoadVisits(shared, boxes, rows, range, thread, policy, row_of);
    SyncNamed(kBranchBarrier, kGemmThreads);
  } else {
    float total[Tile::kSubTiles][Tile::kTokens / 2];
    MultiplyVisits(shared, range.num_blocks, total);
    SyncNamed(kBranchBarrier, kGemmThreads);
    StorePartial(shared, total);
  }
  SyncCluster();
}

// Finishes the block's tokens of a gate-and-up tile; column block `unit` of the inner activations.
template <class Tile>
__device__ __forceinline__ void StoreInner(const GemmShared<Tile>& shared,
                                           const ExpertGemmArgs& args, const ExpertTileRows& tile,
                                           int unit, int splits, int rank) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  for (int token = rank + warp * splits; token < tile.num_rows;
       token += kGemmThreads / 32 * splits) {
    const float4 gate = SumSplits(shared, splits, token, lane * 4);
    const float4 up = SumSplits(shared, splits, token, kScaleBlock + lane * 4);
    const float4 h = {RoundToBf16(Silu(gate.x) * up.x), RoundToBf16(Silu(gate.y) * up.y),
                      RoundToBf16(Silu(gate.z) * up.z), RoundToBf16(Silu(gate.w) * up.w)};
    const float scale = ActivationScale(
        WarpMax(fmaxf(fmaxf(fabsf(h.x), fabsf(h.y)), fmaxf(fabsf(h.z), fabsf(h.w)))));
    const int64_t row = tile.first_row + token;
    *reinterpret_cast<uint32_t*>(args.inner + row * args.intermediate + unit * kScaleBlock +
                                 lane * 4) = PackE4m3(__fdiv_rn(h.x, scale), __fdiv_rn(h.y, scale),
                                                      __fdiv_rn(h.z, scale), __fdiv_rn(h.w, scale));
    if (lane == 0) args.inner_scales[unit * args.inner_scale_stride + row] = scale;
  }
}

template <class Tile>
__device__ __forceinline__ void GateUp(const ExpertGemmArgs& args, int splits) {
  extern __shared__ unsigned char dynamic_shared[];
  const GemmShared<Tile> shared(dynamic_shared);
  const int rank = blockIdx.x % splits;
  const int unit = blockIdx.x / splits;
  const int k_blocks = args.hidden / kScaleBlock;
  const SplitRange range = RangeOfSplit(k_blocks, splits, rank);
  if (threadIdx.x == 0) InitGemmBarriers(shared);
  AllowSuccessor();
  WaitForPredecessor();
  if (static_cast<int>(blockIdx.y) >= *args.rows.num_tiles) return;
  const ExpertTileRows tile = args.rows.tiles[blockIdx.y];
  const ExpertWeights& weights = args.experts[tile.expert];
  if (threadIdx.x < kConsumerThreads) {
    const int64_t row = unit * weights.gate_up_scale_stride;
    LoadExpertScales(shared, weights.gate_scales + row, weights.up_scales + row, range);
  }
  __syncthreads();
  const int first_row = unit * kScaleBlock;
  const int slots = args.rows.top_k + (args.rows.shared ? 1 : 0);
  MultiplyExpert(shared, WeightBoxes<Tile>{{&weights.gate, &weights.up}, {first_row, first_row}},
                 TokenRows{args.x, args.x_stride, args.hidden, args.x_scales, args.x_scale_stride},
                 range, [&](int t) {
                   return t < tile.num_rows ? args.rows.pair_of_row[tile.first_row + t] / slots
                                            : -1;
                 });
  StoreInner(shared, args, tile, unit, splits, rank);
  SyncCluster();  // no block leaves while others read its sums
}

template <class Tile>
__device__ __forceinline__ void Down(const ExpertGemmArgs& args, int splits) {
  extern __shared__ unsigned char dynamic_shared[];
  const GemmShared<Tile> shared(dynamic_shared);
  const int rank = blockIdx.x % splits;
  const int first_column = blockIdx.x / splits * Tile::kRows;  // of the output
  const int k_blocks = args.intermediate / kScaleBlock;
  const SplitRange range = RangeOfSplit(k_blocks, splits, rank);
  if (threadIdx.x == 0) InitGemmBarriers(shared);
  AllowSuccessor();
  WaitForPredecessor();
  if (static_cast<int>(blockIdx.y) >= *args.rows.num_tiles) return;
  const ExpertTileRows tile = args.rows.tiles[blockIdx.y];
  const ExpertWeights& weights = args.experts[tile.expert];
  if (threadIdx.x < kConsumerThreads) {
    const float* scales =
        weights.down_scales + first_column / kScaleBlock * weights.down_scale_stride;
    const bool second_exists = first_column + kScaleBlock < args.hidden;
    LoadExpertScales(shared, scales, second_exists ? scales + weights.down_scale_stride : nullptr,
                     range);
  }
  __syncthreads();
  MultiplyExpert(
      shared,
      WeightBoxes<Tile>{{&weights.down, &weights.down}, {first_column, first_column + kScaleBlock}},
      TokenRows{args.inner, args.intermediate, args.intermediate, args.inner_scales,
                args.inner_scale_stride},
      range, [&](int t) { return t < tile.num_rows ? tile.first_row + t : -1; });
  constexpr int kQuads = Tile::kTokens * Tile::kRows / 4;
  for (int i = PartBegin(kQuads, splits, rank) + threadIdx.x;
       i < PartBegin(kQuads, splits, rank + 1); i += kGemmThreads) {
    const int token = i / (Tile::kRows / 4);
    const int column = i % (Tile::kRows / 4) * 4;
    if (token < tile.num_rows && first_column + column < args.hidden) {
      const int64_t pair = args.rows.pair_of_row[tile.first_row + token];
      *reinterpret_cast<float4*>(args.pair_out + pair * args.pair_stride + first_column + column) =
          SumSplits(shared, splits, token, column);
    }
  }
  SyncCluster();
}

// Blocks of a multiprocessor that registers must leave room for.
template <class Tile>
inline constexpr int kBlocksOf = Tile::kTokens <= 16 ? 2 : 1;

template <class Tile>
__global__ void __launch_bounds__(kGemmThreads, kBlocksOf<Tile>)
    ExpertGateUpKernel(const __grid_constant__ ExpertGemmArgs args) {
  BATON_HOPPER_BODY(GateUp<Tile>(args, static_cast<int>(ClusterSize()));)
}

template <class Tile>
__global__ void __launch_bounds__(kGemmThreads, kBlocksOf<Tile>)
    ExpertDownKernel(const __grid_constant__ ExpertGemmArgs args) {
  BATON_HOPPER_BODY(Down<Tile>(args, static_cast<int>(ClusterSize()));)
}

// `rows` of the weight per expert in tiles of `tile_rows`, k elements of k.
template <class Tile>
cudaError_t Launch(void (*kernel)(ExpertGemmArgs), const ExpertGemmArgs& args, int row_tiles, int k,
                   cudaStream_t stream) {
  const int splits = ExpertSplits(row_tiles, k / kScaleBlock);
  if (CeilDiv(k / kScaleBlock, splits) > kMaxSplitBlocks) return cudaErrorInvalidValue;
  const ExpertRows& rows = args.rows;
  const int64_t tiles = MaxExpertTiles(int64_t{rows.tokens} * rows.slots(),
                                       rows.num_experts + (rows.shared ? 1 : 0), rows.width);
  KernelShape shape;
  shape.grid = dim3(row_tiles * splits, static_cast<unsigned>(tiles));
  shape.block = dim3(kGemmThreads);
  shape.cluster = splits;
  shape.shared_bytes = Tile::kSharedBytes;
  shape.programmatic = args.programmatic;
  return LaunchHopper(kernel, shape, stream, args);
}

template <int kTokens>
cudaError_t LaunchWidth(bool down, const ExpertGemmArgs& args, cudaStream_t stream) {
  using Tile = ExpertTile<kTokens>;
  return down ? Launch<Tile>(ExpertDownKernel<Tile>, args, CeilDiv(args.hidden, Tile::kRows),
                             args.intermediate, stream)
              : Launch<Tile>(ExpertGateUpKernel<Tile>, args, args.intermediate / kScaleBlock,
                             args.hidden, stream);
}

cudaError_t LaunchProduct(bool down, const ExpertGemmArgs& args, cudaStream_t stream) {
  if (args.rows.tokens == 0) return cudaSuccess;
  const ExpertRows& rows = args.rows;
  if (!CanLaunchExperts({.tokens = rows.tokens,
                         .slots = rows.slots(),
                         .num_experts = rows.num_experts + (rows.shared ? 1 : 0),
                         .width = rows.width,
                         .hidden = args.hidden,
                         .intermediate = args.intermediate,
                         .x_stride = args.x_stride,
                         .x_scale_stride = args.x_scale_stride,
                         .inner_scale_stride = args.inner_scale_stride,
                         .pair_stride = args.pair_stride}) ||
      reinterpret_cast<uintptr_t>(args.x) % 16 != 0 ||
      reinterpret_cast<uintptr_t>(args.inner) % 16 != 0 ||
      reinterpret_cast<uintptr_t>(args.pair_out) % 16 != 0) {
    return cudaErrorInvalidValue;
  }
  switch (args.rows.width) {
    case 8:
      return LaunchWidth<8>(down, args, stream);
    case 16:
      return LaunchWidth<16>(down, args, stream);
    case 32:
      return LaunchWidth<32>(down, args, stream);
    case 64:
      return LaunchWidth<64>(down, args, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace

cudaError_t LaunchExpertGateUp(const ExpertGemmArgs& args, cudaStream_t stream) {
  return LaunchProduct(false, args, stream);
}

cudaError_t LaunchExpertDown(const ExpertGemmArgs& args, cudaStream_t stream) {
  return LaunchProduct(true, args, stream);
}

}  // namespace baton::kernels::cuda
