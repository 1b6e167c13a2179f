#include "common/log/check.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/embedding.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kEmbedThreads = 256;

// One block per token and kEmbedThreads columns.
template <typename T>
__global__ void __launch_bounds__(kEmbedThreads)
    EmbedKernel(const uint32_t* token_ids, const T* table, int64_t table_rows, int64_t table_stride,
                int64_t vocabulary_begin, float* out, int64_t out_stride, int64_t columns) {
  const int64_t column = int64_t{blockIdx.y} * kEmbedThreads + threadIdx.x;
  if (column >= columns) return;
  const int64_t row = int64_t{token_ids[blockIdx.x]} - vocabulary_begin;
  const bool here = row >= 0 && row < table_rows;
  out[blockIdx.x * out_stride + column] = here ? Widen(table[row * table_stride + column]) : 0.0f;
}

template <typename T>
void EmbedRows(const EmbedArgs& args, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(args.token_ids.size()),
                  static_cast<unsigned>((args.out.columns + kEmbedThreads - 1) / kEmbedThreads));
  EmbedKernel<T><<<grid, kEmbedThreads, 0, stream>>>(
      args.token_ids.data(), static_cast<const T*>(args.table.data), args.table.rows,
      args.table.row_stride, args.vocabulary_begin, static_cast<float*>(args.out.data),
      args.out.row_stride, args.out.columns);
  CheckCuda(cudaGetLastError(), "Embed");
}

}  // namespace

void LaunchEmbed(const EmbedArgs& args, cudaStream_t stream) {
  BATON_CHECK(args.table.columns == args.out.columns &&
              static_cast<int64_t>(args.token_ids.size()) == args.out.rows &&
              args.out.type == DataType::kFloat32);
  if (args.out.empty()) return;
  if (args.table.type == DataType::kBFloat16) {
    EmbedRows<__nv_bfloat16>(args, stream);
  } else {
    EmbedRows<float>(args, stream);
  }
}

}  // namespace baton::kernels::cuda
