#include "common/log/check.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/rope.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kRopeThreads = 128;

// One block per row; thread t turns the pairs t, t + kRopeThreads, ... of all heads.
template <typename T>
__global__ void __launch_bounds__(kRopeThreads)
    RopeKernel(T* x, int64_t x_stride, int64_t heads, int64_t head_stride, int64_t dims,
               const int32_t* positions, const float* table, int64_t table_stride) {
  const float* angles = table + positions[blockIdx.x] * table_stride;
  T* row = x + blockIdx.x * x_stride;
  const int64_t pairs = dims / 2;
  for (int64_t i = threadIdx.x; i < heads * pairs; i += kRopeThreads) {
    T* pair = row + i / pairs * head_stride + i % pairs * 2;
    const float cosine = angles[i % pairs * 2];
    const float sine = angles[i % pairs * 2 + 1];
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
  const int32_t sequence = sequence_rows[blockIdx.x];
  if (sequence < 0) return;
  const int32_t position = positions[blockIdx.x];
  const int64_t block = block_tables[sequence * max_blocks + position / kBlockTokens];
  T* slot = pages + (block * kBlockTokens + position % kBlockTokens) * page_stride;
  for (int64_t i = threadIdx.x; i < latent_dims + rope_dims; i += kRopeThreads) {
    slot[i] = i < latent_dims ? latent[blockIdx.x * latent_stride + i]
                              : rope_key[blockIdx.x * rope_stride + i - latent_dims];
  }
}

template <typename T>
void Rotate(const RopeArgs& args, cudaStream_t stream) {
  RopeKernel<T><<<static_cast<unsigned>(args.x.rows), kRopeThreads, 0, stream>>>(
      static_cast<T*>(args.x.data), args.x.row_stride, args.heads, args.head_stride, args.dims,
      args.positions.data(), static_cast<const float*>(args.table.data), args.table.row_stride);
}

template <typename T>
void WriteRows(const KvWriteArgs& args, cudaStream_t stream) {
  KvWriteKernel<T><<<static_cast<unsigned>(args.latent.rows), kRopeThreads, 0, stream>>>(
      static_cast<const T*>(args.latent.data), args.latent.row_stride, args.cache.latent_dims,
      static_cast<const T*>(args.rope_key.data), args.rope_key.row_stride, args.cache.rope_dims,
      args.layout.positions.data(), args.layout.sequence_rows.data(),
      args.layout.block_tables.data(), args.layout.max_blocks,
      static_cast<T*>(args.cache.pages.data), args.cache.pages.row_stride);
}

}  // namespace

void LaunchRope(const RopeArgs& args, cudaStream_t stream) {
  BATON_CHECK(args.dims % 2 == 0 && args.table.columns == args.dims);
  BATON_CHECK(args.x.columns >= (args.heads - 1) * args.head_stride + args.dims);
  if (args.x.rows == 0) return;
  if (args.x.type == DataType::kBFloat16) {
    Rotate<__nv_bfloat16>(args, stream);
  } else {
    Rotate<float>(args, stream);
  }
  CheckCuda(cudaGetLastError(), "Rope");
}

void LaunchKvWrite(const KvWriteArgs& args, cudaStream_t stream) {
  BATON_CHECK(args.latent.columns == args.cache.latent_dims &&
              args.rope_key.columns == args.cache.rope_dims &&
              args.latent.type == args.cache.pages.type);
  if (args.latent.rows == 0) return;
  if (args.latent.type == DataType::kBFloat16) {
    WriteRows<__nv_bfloat16>(args, stream);
  } else {
    WriteRows<float>(args, stream);
  }
  CheckCuda(cudaGetLastError(), "KvWrite");
}

}  // namespace baton::kernels::cuda
