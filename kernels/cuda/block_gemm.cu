// Roles, barriers and order of summation: block_gemm_core.cuh. A cluster shares a tile of 128 rows
// of the weight and up to 64 tokens; its blocks take consecutive ranges of k, leave their sums in
// shared memory, and each adds up, in order of rank, its part of the tile.
#include "kernels/cuda/block_gemm.h"
#include "kernels/cuda/block_gemm_core.cuh"
#include "kernels/cuda/device/kernel_launch.cuh"

namespace baton::kernels::cuda {
namespace {

template <class Tile>
__device__ __forceinline__ void LoadWeightScales(const GemmShared<Tile>& shared,
                                                 const BlockGemmArgs& args, int first_row,
                                                 SplitRange range) {
  const int warpgroup = threadIdx.x / 128;
  const int block_row = (args.row_offset + first_row + warpgroup * 64) / kScaleBlock;
  // A warpgroup whose rows all lie behind the weight's end multiplies zeros.
  const bool exists = first_row + warpgroup * 64 < args.n;
  const float* scales = args.weight_scales + block_row * args.weight_scale_stride;
  for (int i = threadIdx.x % 128; i < range.num_blocks; i += 128) {
    shared.weight_scales(warpgroup)[i] = exists ? scales[range.first_block + i] : 0.0f;
  }
}

template <class Tile>
__device__ __forceinline__ void MultiplyTile(const BlockGemmArgs& args, int splits) {
  extern __shared__ unsigned char dynamic_shared[];
  const GemmShared<Tile> shared(dynamic_shared);
  const int rank = blockIdx.x % splits;
  const int first_row = blockIdx.x / splits * Tile::kRows;
  const int first_token = blockIdx.y * Tile::kTokens;
  const SplitRange range = RangeOfSplit(args.k / kScaleBlock, splits, rank);
  if (threadIdx.x == 0) InitGemmBarriers(shared);
  if (threadIdx.x < kConsumerThreads) LoadWeightScales(shared, args, first_row, range);
  __syncthreads();

  if (threadIdx.x >= kConsumerThreads) {
    const int thread = threadIdx.x - kConsumerThreads;
    const uint64_t policy = gridDim.y == 1 ? StreamingPolicy() : ReusePolicy();
    const WeightBoxes<Tile> boxes = {{&args.weight}, {first_row}};
    if (thread == 0) PrefetchWeights(shared, boxes, range, policy);
    AllowSuccessor();
    WaitForPredecessor();
    const TokenRows rows = {args.x, args.x_stride, args.k, args.x_scales, args.x_scale_stride};
    LoadVisits(shared, boxes, rows, range, thread, policy,
               [&](int t) { return first_token + t < args.m ? first_token + t : -1; });
    SyncNamed(kBranchBarrier, kGemmThreads);
  } else {
    float total[Tile::kSubTiles][Tile::kTokens / 2];
    WaitForPredecessor();
    MultiplyVisits(shared, range.num_blocks, total);
    SyncNamed(kBranchBarrier, kGemmThreads);
    StorePartial(shared, total);
  }
  SyncCluster();
  StoreTile(shared, GemmOutput{args.out, args.out_stride, args.n, args.out_is_float}, splits, rank,
            first_token, args.m, first_row);
  SyncCluster();  // no block leaves while others read its sums
}

template <class Tile>
__global__ void __launch_bounds__(kGemmThreads, 2)
    BlockGemmKernel(const __grid_constant__ BlockGemmArgs args) {
  BATON_HOPPER_BODY(MultiplyTile<Tile>(args, static_cast<int>(ClusterSize()));)
}

template <int kTokens>
cudaError_t Launch(const BlockGemmArgs& args, cudaStream_t stream) {
  using Tile = DenseTile<kTokens>;
  const int splits = DenseSplits<Tile>(args.n, args.k);
  if (CeilDiv(args.k / kScaleBlock, splits) > kMaxSplitBlocks) return cudaErrorInvalidValue;
  const LaunchShape shape = DenseLaunch<Tile>(args.m, args.n, args.k, /*heads=*/1);
  return LaunchHopper(BlockGemmKernel<Tile>, PlannedShape(shape, args.programmatic), stream, args);
}

}  // namespace

cudaError_t LaunchBlockGemm(const BlockGemmArgs& args, cudaStream_t stream) {
  if (args.m == 0 || args.n == 0) return cudaSuccess;
  if (args.k <= 0 || args.k % kScaleBlock != 0 || (args.row_offset != 0 && args.row_offset != 64) ||
      args.x_stride % 16 != 0 || args.x_stride < args.k || args.x_scale_stride < args.m ||
      reinterpret_cast<uintptr_t>(args.x) % 16 != 0) {
    return cudaErrorInvalidValue;
  }
  switch (TokenTile(args.m)) {
    case 8:
      return Launch<8>(args, stream);
    case 16:
      return Launch<16>(args, stream);
    case 32:
      return Launch<32>(args, stream);
    default:
      return Launch<64>(args, stream);
  }
}

}  // namespace baton::kernels::cuda
