#include "common/log/check.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/plan/row_plan.h"
#include "kernels/cuda/planned_launch.cuh"
#include "kernels/cuda/rope.h"

namespace baton::kernels::cuda {
namespace {

// One block per row (plan/row_plan.h), the pairs of all heads spread over its threads.
template <typename T>
__global__ void __launch_bounds__(kRopeThreads)
    RopeKernel(T* x, int64_t x_stride, int64_t heads, int64_t head_stride, int64_t dims,
               const int32_t* positions, const float* table, int64_t table_stride) {
  const LaunchThread thread = ThisThread();
  const float* angles = table + positions[thread.block_x] * table_stride;
  T* row = x + thread.block_x * x_stride;
  for (const int64_t i : RopePairs(thread, heads, dims)) {
    const RopePair at = RopePairAt(i, dims, head_stride);
    T* pair = row + at.column;
    const float cosine = angles[at.angle];
    const float sine = angles[at.angle + 1];
    const float a = Widen(pair[0]);
    const float b = Widen(pair[1]);
    pair[0] = Narrow<T>(a * cosine - b * sine);
    pair[1] = Narrow<T>(a * sine + b * cosine);
  }
}

// One block per row: [latent | rotary key] to the slot of its position.
template <typename T>
__global__ void __launch_bounds__(kRopeThreads)
    KvWriteKernel(const T* latent, int64_t latent_stride, int64_t latent_dims, const T* rope_key,
                  int64_t rope_stride, int64_t rope_dims, const int32_t* positions,
                  const int32_t* sequence_rows, const int32_t* block_tables, int64_t max_blocks,
                  T* pages, int64_t page_stride) {
  const LaunchThread thread = ThisThread();
  const int64_t row = thread.block_x;
  const int32_t sequence = sequence_rows[row];
  if (sequence < 0) return;
  T* slot = pages + CacheRow(block_tables + sequence * max_blocks, positions[row]) * page_stride;
  for (const int64_t i : KvColumns(thread, latent_dims + rope_dims)) {
    slot[i] = i < latent_dims ? latent[row * latent_stride + i]
                              : rope_key[row * rope_stride + i - latent_dims];
  }
}

template <typename T>
void Rotate(const RopeArgs& args, cudaStream_t stream) {
  LaunchPlanned("Rope", RopeKernel<T>, RopeLaunch(args.x.rows, args.heads, args.dims), stream,
                static_cast<T*>(args.x.data), args.x.row_stride, args.heads, args.head_stride,
                args.dims, args.positions.data(), static_cast<const float*>(args.table.data),
                args.table.row_stride);
}

template <typename T>
void WriteRows(const KvWriteArgs& args, cudaStream_t stream) {
  const KvPages& cache = args.cache;
  LaunchPlanned("KvWrite", KvWriteKernel<T>,
                KvWriteLaunch(args.latent.rows, cache.latent_dims + cache.rope_dims), stream,
                static_cast<const T*>(args.latent.data), args.latent.row_stride, cache.latent_dims,
                static_cast<const T*>(args.rope_key.data), args.rope_key.row_stride,
                cache.rope_dims, args.layout.positions.data(), args.layout.sequence_rows.data(),
                args.layout.block_tables.data(), args.layout.max_blocks,
                static_cast<T*>(cache.pages.data), cache.pages.row_stride);
}

}  // namespace

void LaunchRope(const RopeArgs& args, cudaStream_t stream) {
  BATON_CHECK(args.dims % 2 == 0 && args.table.columns == args.dims);
  BATON_CHECK(args.x.columns >= (args.heads - 1) * args.head_stride + args.dims);
  if (args.x.type == DataType::kBFloat16) {
    Rotate<__nv_bfloat16>(args, stream);
  } else {
    Rotate<float>(args, stream);
  }
}

void LaunchKvWrite(const KvWriteArgs& args, cudaStream_t stream) {
  BATON_CHECK(args.latent.columns == args.cache.latent_dims &&
              args.rope_key.columns == args.cache.rope_dims &&
              args.latent.type == args.cache.pages.type);
  if (args.latent.type == DataType::kBFloat16) {
    WriteRows<__nv_bfloat16>(args, stream);
  } else {
    WriteRows<float>(args, stream);
  }
}

}  // namespace baton::kernels::cuda
