#include "common/log/check.h"
#include "kernels/cuda/launches/elements.cuh"
#include "kernels/cuda/launches/planned_launch.cuh"
#include "kernels/cuda/launches/rope.h"
#include "kernels/cuda/plan/row_plan.h"

namespace baton::kernels::cuda {
namespace {

// A pair turned by an angle: one rounding per element. Whoever turns pairs calls this, so that the
// bits are the same.
template <typename T>
struct TurnedPair {
  __device__ TurnedPair(const T* pair, const float* angle) {
    const float cosine = angle[0];
    const float sine = angle[1];
    const float a = Widen(pair[0]);
    const float b = Widen(pair[1]);
    first = Narrow<T>(a * cosine - b * sine);
    second = Narrow<T>(a * sine + b * cosine);
  }

  T first;
  T second;
};

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
    const TurnedPair<T> turned(pair, angles + at.angle);
    pair[0] = turned.first;
    pair[1] = turned.second;
  }
}

// One block per row: [latent | rotary key] to the slot of its position. With a table both threads
// of a pair turn it, and each writes its element: `rope_key` is not written, nobody waits.
template <typename T, bool kTurns>
__global__ void __launch_bounds__(kRopeThreads)
    KvWriteKernel(const T* latent, int64_t latent_stride, int64_t latent_dims, const T* rope_key,
                  int64_t rope_stride, int64_t rope_dims, const int32_t* positions,
                  const int32_t* sequence_rows, const int32_t* block_tables, int64_t max_blocks,
                  const float* table, int64_t table_stride, T* pages, int64_t page_stride) {
  const LaunchThread thread = ThisThread();
  const int64_t row = thread.block_x;
  const int32_t sequence = sequence_rows[row];
  if (sequence < 0) return;
  T* slot = pages + CacheRow(block_tables + sequence * max_blocks, positions[row]) * page_stride;
  for (const int64_t i : KvColumns(thread, latent_dims + rope_dims)) {
    if (i < latent_dims) {
      slot[i] = latent[row * latent_stride + i];
      continue;
    }
    const T* key = rope_key + row * rope_stride;
    const int64_t column = i - latent_dims;
    if constexpr (kTurns) {
      const int64_t pair = column / 2 * 2;
      const TurnedPair<T> turned(key + pair, table + positions[row] * table_stride + pair);
      slot[i] = column == pair ? turned.first : turned.second;
    } else {
      slot[i] = key[column];
    }
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
  const bool turns = args.rotary_table.data != nullptr;
  LaunchPlanned("KvWrite", turns ? KvWriteKernel<T, true> : KvWriteKernel<T, false>,
                KvWriteLaunch(args.latent.rows, cache.latent_dims + cache.rope_dims), stream,
                static_cast<const T*>(args.latent.data), args.latent.row_stride, cache.latent_dims,
                static_cast<const T*>(args.rope_key.data), args.rope_key.row_stride,
                cache.rope_dims, args.layout.positions.data(), args.layout.sequence_rows.data(),
                args.layout.block_tables.data(), args.layout.max_blocks,
                static_cast<const float*>(args.rotary_table.data), args.rotary_table.row_stride,
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
  BATON_CHECK(args.rotary_table.data == nullptr ||
              (args.rotary_table.columns == args.cache.rope_dims && args.cache.rope_dims % 2 == 0));
  if (args.latent.type == DataType::kBFloat16) {
    WriteRows<__nv_bfloat16>(args, stream);
  } else {
    WriteRows<float>(args, stream);
  }
}

}  // namespace baton::kernels::cuda
