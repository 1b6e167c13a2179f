// The rows of a step by expert, and what becomes of their results.
//
// Schedule: one block of 32 warps. Each warp takes a run of pairs and counts them per expert in a
// row of shared memory of its own; 32 pairs at a time, lanes with equal experts find each other,
// the lowest adds for all (no atomics: the order is that of the pairs). Then expert by expert the
// warps' counts become places, and a second walk writes the rows.
#include "kernels/cuda/device/cluster.cuh"
#include "kernels/cuda/device/kernel_launch.cuh"
#include "kernels/cuda/expert_gemm.h"

namespace baton::kernels::cuda {
namespace {

struct ScheduleArgs {
  const int32_t* experts;
  ExpertRows rows;
};

// Inclusive sum over a warp.
__device__ __forceinline__ int WarpSum(int x) {
  for (int offset = 1; offset < 32; offset *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, x, offset);
    if (static_cast<int>(threadIdx.x % 32) >= offset) x += other;
  }
  return x;
}

// Walks over the warp's run of routed choices in order: visit(choice, expert, mask of lanes with
// the same). Lanes without a choice have expert -1.
template <class Visit>
__device__ __forceinline__ void ForEachChoice(const ScheduleArgs& args, Visit visit) {
  const Steps<int> rounds = WarpChoices(threadIdx.x / 32, args.rows.tokens * args.rows.top_k);
  for (const int first : rounds) {
    const int choice = first + threadIdx.x % 32;
    const int expert = choice < rounds.limit ? args.experts[choice] : -1;
    if (expert >= args.rows.num_experts) __trap();  // its counts would be another's
    visit(choice, expert, __match_any_sync(0xffffffffu, expert));
    __syncwarp();
  }
}

__global__ void __launch_bounds__(kScheduleThreads)
    ExpertScheduleKernel(const __grid_constant__ ScheduleArgs args) {
  extern __shared__ int32_t counts[];  // [warps][experts]
  __shared__ int32_t row_totals[kScheduleWarps];
  __shared__ int32_t tile_totals[kScheduleWarps];
  const ExpertRows& rows = args.rows;
  const int thread = threadIdx.x;
  const int lane = thread % 32;
  const int warp = thread / 32;
  const int num_experts = rows.num_experts + (rows.shared ? 1 : 0);
  for (const int i : ScheduleSteps(thread, kScheduleWarps * num_experts)) counts[i] = 0;
  AllowSuccessor();
  WaitForPredecessor();
  __syncthreads();
  int32_t* own = counts + warp * num_experts;
  ForEachChoice(args, [&](int, int expert, unsigned mask) {
    if (expert >= 0 && lane == __ffs(mask) - 1) own[expert] += __popc(mask);
  });
  __syncthreads();

  int total = 0;  // rows of expert `thread`
  if (thread < rows.num_experts) {
    for (int w = 0; w < kScheduleWarps; ++w) {  // counts become places within the expert
      const int count = counts[w * num_experts + thread];
      counts[w * num_experts + thread] = total;
      total += count;
    }
  } else if (thread < num_experts) {
    total = rows.tokens;
  }
  const int tiles = CeilDiv(total, rows.width);
  int first_row = WarpSum(total);
  int first_tile = WarpSum(tiles);
  if (lane == 31) {
    row_totals[warp] = first_row;
    tile_totals[warp] = first_tile;
  }
  __syncthreads();
  first_row -= total;
  first_tile -= tiles;
  for (int w = 0; w < warp; ++w) {
    first_row += row_totals[w];
    first_tile += tile_totals[w];
  }
  if (thread < num_experts) {
    for (int tile = 0; tile < tiles; ++tile) {
      const int done = tile * rows.width;
      rows.tiles[first_tile + tile] = {thread, first_row + done, min(rows.width, total - done), 0};
    }
  }
  if (thread < rows.num_experts) {  // and places within the step
    for (int w = 0; w < kScheduleWarps; ++w) counts[w * num_experts + thread] += first_row;
  }
  if (thread == kScheduleThreads - 1) *rows.num_tiles = first_tile + tiles;
  __shared__ int32_t shared_first_row;
  if (thread == rows.num_experts) shared_first_row = first_row;
  __syncthreads();

  ForEachChoice(args, [&](int choice, int expert, unsigned mask) {
    int place = 0;
    if (expert >= 0) place = own[expert] + __popc(mask & ((1u << lane) - 1));
    __syncwarp();
    if (expert < 0) return;
    if (lane == __ffs(mask) - 1) own[expert] += __popc(mask);
    rows.pair_of_row[place] = PairOfChoice(choice, rows.top_k, rows.shared);
  });
  if (rows.shared) {
    for (const int token : ScheduleSteps(thread, rows.tokens)) {
      rows.pair_of_row[shared_first_row + token] = PairOfShared(token, rows.top_k);
    }
  }
}

// Four columns of one token (plan/expert_plan.h).
static_assert(kCombineColumns == 4);
__global__ void __launch_bounds__(kCombineThreads)
    ExpertCombineKernel(const __grid_constant__ ExpertCombineArgs args) {
  const auto [token, column] = CombinedAt(ThisThread());
  const int slots = args.top_k + (args.shared ? 1 : 0);
  AllowSuccessor();
  WaitForPredecessor();
  if (column >= args.hidden) return;
  const float* pairs = args.pair_out + token * slots * args.hidden + column;
  float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
  for (int slot = 0; slot < args.top_k; ++slot) {
    if (args.experts[token * args.top_k + slot] < 0) continue;
    const float weight = args.slot_weights[token * args.top_k + slot];
    const float4 v = *reinterpret_cast<const float4*>(pairs + int64_t{slot} * args.hidden);
    sum.x = fmaf(weight, v.x, sum.x);
    sum.y = fmaf(weight, v.y, sum.y);
    sum.z = fmaf(weight, v.z, sum.z);
    sum.w = fmaf(weight, v.w, sum.w);
  }
  if (args.shared) {
    const float4 v = *reinterpret_cast<const float4*>(pairs + int64_t{args.top_k} * args.hidden);
    sum.x += v.x;
    sum.y += v.y;
    sum.z += v.z;
    sum.w += v.w;
  }
  *reinterpret_cast<float4*>(args.out + token * args.out_stride + column) = sum;
}

}  // namespace

cudaError_t LaunchExpertSchedule(const int32_t* experts, const ExpertRows& rows, bool programmatic,
                                 cudaStream_t stream) {
  if (rows.tokens == 0) return cudaSuccess;
  const int num_experts = rows.num_experts + (rows.shared ? 1 : 0);
  if (num_experts > kMaxExperts || rows.width <= 0) return cudaErrorInvalidValue;
  KernelShape shape = PlannedShape(ScheduleLaunch(num_experts), programmatic);
  shape.most_shared_bytes = static_cast<int>(ScheduleLaunch(kMaxExperts).shared_bytes);
  return LaunchAny(ExpertScheduleKernel, shape, stream, ScheduleArgs{experts, rows});
}

cudaError_t LaunchExpertCombine(const ExpertCombineArgs& args, cudaStream_t stream) {
  if (args.tokens == 0) return cudaSuccess;
  if (args.hidden % 4 != 0 || args.out_stride % 4 != 0 ||
      (reinterpret_cast<uintptr_t>(args.out) | reinterpret_cast<uintptr_t>(args.pair_out)) % 16 !=
          0) {
    return cudaErrorInvalidValue;
  }
  return LaunchAny(ExpertCombineKernel,
                   PlannedShape(ExpertCombineLaunch(args.tokens, args.hidden), args.programmatic),
                   stream, args);
}

}  // namespace baton::kernels::cuda
