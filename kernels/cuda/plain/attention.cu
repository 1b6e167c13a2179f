#include "common/log/check.h"
#include "kernels/cuda/launches/elements.cuh"
#include "kernels/cuda/launches/planned_launch.cuh"
#include "kernels/cuda/plain/attention.h"
#include "kernels/cuda/plan/plain_plan.h"
#include "kernels/cuda/plan/row_plan.h"

namespace baton::kernels::cuda {
namespace {

struct AddUp {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct TakeLarger {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// `fold` over the block's values in one fixed tree, in all threads. `warps`: shared.
template <typename Fold>
__device__ float FoldBlock(float value, float neutral, const Fold& fold, float* warps) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value = fold(value, __shfl_xor_sync(0xffffffffu, value, distance));
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  value = threadIdx.x % 32 < kAttendWarps ? warps[threadIdx.x % 32] : neutral;
  for (int distance = 16; distance > 0; distance /= 2) {
    value = fold(value, __shfl_xor_sync(0xffffffffu, value, distance));
  }
  return value;
}

template <typename T>
struct AttendParams {
  const T* q_latent;
  int64_t q_latent_stride;
  const T* q_rope;
  int64_t q_rope_stride;
  int64_t q_rope_head_stride;
  float scale;
  const int32_t* positions;
  const int32_t* sequence_rows;
  const int32_t* block_tables;
  int64_t max_blocks;
  const T* pages;
  int64_t page_stride;
  int64_t latent_dims;
  int64_t rope_dims;
  T* out;
  int64_t out_stride;

  // The cache row of a position.
  __device__ const T* PageRow(int64_t sequence, int64_t position) const {
    return pages + CacheRow(block_tables + sequence * max_blocks, position) * page_stride;
  }
};

// Block (row, head). Splits of kAttentionSplitTokens positions from position 0 on, each with its
// own largest score and sum, folded into the result in order.
// Shared memory: query [latent + rope] | scores [split] | result [latent]
template <typename T>
__global__ void __launch_bounds__(kAttendThreads) AttendKernel(AttendParams<T> p) {
  extern __shared__ float attend_memory[];
  __shared__ float warps[kAttendWarps];
  const LaunchThread thread = ThisThread();
  const int64_t row = thread.block_x;
  const int64_t head = thread.block_y;
  const int64_t width = p.latent_dims + p.rope_dims;
  float* query = attend_memory;
  float* scores = query + width;
  float* result = scores + kAttentionSplitTokens;
  T* out = p.out + row * p.out_stride + head * p.latent_dims;
  const int64_t sequence = p.sequence_rows[row];
  if (sequence < 0) {
    for (const int64_t d : AttendSteps(thread, p.latent_dims)) out[d] = Narrow<T>(0.0f);
    return;
  }
  for (const int64_t d : AttendSteps(thread, width)) {
    query[d] = d < p.latent_dims
                   ? Widen(p.q_latent[row * p.q_latent_stride + head * p.latent_dims + d])
                   : Widen(p.q_rope[row * p.q_rope_stride + head * p.q_rope_head_stride + d -
                                    p.latent_dims]);
  }
  for (const int64_t d : AttendSteps(thread, p.latent_dims)) result[d] = 0.0f;
  const int64_t end = int64_t{p.positions[row]} + 1;
  float largest = -INFINITY;
  float total = 0.0f;
  for (const int64_t begin : KeySplitBegins(end)) {
    const int64_t count = end - begin < kAttentionSplitTokens ? end - begin : kAttentionSplitTokens;
    __syncthreads();  // the query stands; the scores of the split before have been read
    for (const int64_t j : KeysOfWarp(thread, count)) {
      const T* key = p.PageRow(sequence, begin + j);
      float dot = 0.0f;
      for (const int64_t d : DimsOfLane(thread, width)) dot = fmaf(query[d], Widen(key[d]), dot);
      for (int distance = 16; distance > 0; distance /= 2) {
        dot += __shfl_xor_sync(0xffffffffu, dot, distance);
      }
      if (thread.lane() == 0) scores[j] = dot * p.scale;
    }
    __syncthreads();
    float best = -INFINITY;
    for (const int64_t j : AttendSteps(thread, count)) best = fmaxf(best, scores[j]);
    best = FoldBlock(best, -INFINITY, TakeLarger(), warps);
    float sum = 0.0f;
    for (const int64_t j : AttendSteps(thread, count)) {
      scores[j] = expf(scores[j] - best);
      sum += scores[j];
    }
    sum = FoldBlock(sum, 0.0f, AddUp(), warps);
    const float next = fmaxf(largest, best);
    const float keep = expf(largest - next);
    const float take = expf(best - next);
    for (const int64_t d : AttendSteps(thread, p.latent_dims)) {
      float value = 0.0f;
      for (int64_t j = 0; j < count; ++j) {
        value = fmaf(scores[j], Widen(p.PageRow(sequence, begin + j)[d]), value);
      }
      result[d] = result[d] * keep + value * take;
    }
    total = total * keep + sum * take;
    largest = next;
  }
  for (const int64_t d : AttendSteps(thread, p.latent_dims)) {
    out[d] = Narrow<T>(result[d] / total);
  }
}

template <typename T>
void Attend(const MlaAttentionArgs& args, cudaStream_t stream) {
  const KvPages& cache = args.cache;
  const StepLayout& layout = args.layout;
  const AttendParams<T> params = {
      static_cast<const T*>(args.q_latent.data),
      args.q_latent.row_stride,
      static_cast<const T*>(args.q_rope.data),
      args.q_rope.row_stride,
      args.q_rope_head_stride == 0 ? cache.rope_dims : args.q_rope_head_stride,
      args.scale,
      layout.positions.data(),
      layout.sequence_rows.data(),
      layout.block_tables.data(),
      layout.max_blocks,
      static_cast<const T*>(cache.pages.data),
      cache.pages.row_stride,
      cache.latent_dims,
      cache.rope_dims,
      static_cast<T*>(args.out.data),
      args.out.row_stride};
  LaunchPlanned("plain attention", AttendKernel<T>,
                PlainAttentionLaunch(args.out.rows, args.heads, cache.latent_dims, cache.rope_dims),
                stream, params);
}

}  // namespace

void LaunchPlainAttention(const MlaAttentionArgs& args, cudaStream_t stream) {
  BATON_CHECK(args.q_latent.columns == args.heads * args.cache.latent_dims &&
              args.out.columns == args.q_latent.columns && args.out.rows == args.q_latent.rows &&
              args.q_latent.type == args.cache.pages.type);
  if (args.out.empty()) return;
  if (args.out.type == DataType::kBFloat16) {
    Attend<__nv_bfloat16>(args, stream);
  } else {
    Attend<float>(args, stream);
  }
}

}  // namespace baton::kernels::cuda
