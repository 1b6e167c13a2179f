// Roles, barriers and order of summation: block_gemm_core.cuh, without scales. Heads are the grid's
// third dimension.
#include "kernels/cuda/bf16_gemm.h"
#include "kernels/cuda/block_gemm_core.cuh"
#include "kernels/cuda/device/kernel_launch.cuh"

namespace baton::kernels::cuda {
namespace {

template <class Tile>
__device__ __forceinline__ void MultiplyHead(const Bf16GemmArgs& args, int splits) {
  extern __shared__ unsigned char dynamic_shared[];
  const GemmShared<Tile> shared(dynamic_shared);
  const int rank = blockIdx.x % splits;
  const int first_row = blockIdx.x / splits * Tile::kRows;
  const int first_token = blockIdx.y * Tile::kTokens;
  const int head = blockIdx.z;
  const SplitRange range = RangeOfSplit(CeilDiv(args.k, Tile::kBlockElements), splits, rank);
  if (threadIdx.x == 0) InitGemmBarriers(shared);
  __syncthreads();

  if (threadIdx.x >= kConsumerThreads) {
    const int thread = threadIdx.x - kConsumerThreads;
    const uint64_t policy = gridDim.y == 1 ? StreamingPolicy() : ReusePolicy();
    WeightBoxes<Tile> boxes = {{&args.weight}, {head * args.n + first_row}};
    if (args.head_maps != nullptr) boxes = {{args.head_maps + head}, {first_row}};
    if (thread == 0) {
      if (args.head_maps != nullptr) AcquireMap(boxes.map[0]);
      PrefetchWeights(shared, boxes, range, policy);
    }
    AllowSuccessor();
    WaitForPredecessor();
    const TokenRows rows = {static_cast<const __nv_bfloat16*>(args.x) + head * args.x_head_stride,
                            args.x_stride * 2, int64_t{args.k} * 2, nullptr, 0};
    LoadVisits(shared, boxes, rows, range, thread, policy,
               [&](int t) { return first_token + t < args.m ? first_token + t : -1; });
    SyncNamed(kBranchBarrier, kGemmThreads);
  } else {
    float total[Tile::kSubTiles][Tile::kTokens / 2];
    WaitForPredecessor();
    MultiplyBf16Visits(shared, range.num_blocks, total);
    SyncNamed(kBranchBarrier, kGemmThreads);
    StorePartial(shared, total);
  }
  SyncCluster();
  const int64_t first_column = int64_t{head} * args.n;
  void* out = args.out_is_float
                  ? static_cast<void*>(static_cast<float*>(args.out) + first_column)
                  : static_cast<void*>(static_cast<__nv_bfloat16*>(args.out) + first_column);
  StoreTile(shared, GemmOutput{out, args.out_stride, args.n, args.out_is_float}, splits, rank,
            first_token, args.m, first_row);
  SyncCluster();  // no block leaves while others read its sums
}

template <class Tile>
__global__ void __launch_bounds__(kGemmThreads, 2)
    Bf16GemmKernel(const __grid_constant__ Bf16GemmArgs args) {
  BATON_HOPPER_BODY(MultiplyHead<Tile>(args, static_cast<int>(ClusterSize()));)
}

template <int kTokens>
cudaError_t Launch(const Bf16GemmArgs& args, cudaStream_t stream) {
  using Tile = Bf16Tile<kTokens>;
  const LaunchShape shape = DenseLaunch<Tile>(args.m, args.n, args.k, args.heads);
  return LaunchHopper(Bf16GemmKernel<Tile>, PlannedShape(shape, args.programmatic), stream, args);
}

}  // namespace

cudaError_t LaunchBf16Gemm(const Bf16GemmArgs& args, cudaStream_t stream) {
  if (args.m == 0 || args.n == 0) return cudaSuccess;
  if (args.k <= 0 || args.heads <= 0 || args.k % 8 != 0 || args.x_stride % 8 != 0 ||
      args.x_head_stride % 8 != 0 || reinterpret_cast<uintptr_t>(args.x) % 16 != 0 ||
      (args.heads > 1 && args.n % 4 != 0)) {
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
