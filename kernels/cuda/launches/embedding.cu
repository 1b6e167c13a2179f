#include "common/log/check.h"
#include "kernels/cuda/launches/elements.cuh"
#include "kernels/cuda/launches/embedding.h"
#include "kernels/cuda/launches/planned_launch.cuh"
#include "kernels/cuda/plan/row_plan.h"

namespace baton::kernels::cuda {
namespace {

// One thread per element (plan/row_plan.h); a row is a token.
template <typename T>
__global__ void __launch_bounds__(kElementThreads)
    EmbedKernel(const uint32_t* token_ids, const T* table, int64_t table_rows, int64_t table_stride,
                int64_t vocabulary_begin, float* out, int64_t out_stride, int64_t columns) {
  const auto [token, column] = ElementOf(ThisThread());
  if (column >= columns) return;
  const int64_t row = EmbeddingRow(token_ids[token], vocabulary_begin, table_rows);
  out[token * out_stride + column] = row >= 0 ? Widen(table[row * table_stride + column]) : 0.0f;
}

template <typename T>
void EmbedRows(const EmbedArgs& args, cudaStream_t stream) {
  LaunchPlanned("Embed", EmbedKernel<T>, ElementsLaunch(args.out.rows, args.out.columns), stream,
                args.token_ids.data(), static_cast<const T*>(args.table.data), args.table.rows,
                args.table.row_stride, args.vocabulary_begin, static_cast<float*>(args.out.data),
                args.out.row_stride, args.out.columns);
}

}  // namespace

void LaunchEmbed(const EmbedArgs& args, cudaStream_t stream) {
  BATON_CHECK(args.table.columns == args.out.columns &&
              static_cast<int64_t>(args.token_ids.size()) == args.out.rows &&
              args.out.type == DataType::kFloat32);
  if (args.table.type == DataType::kBFloat16) {
    EmbedRows<__nv_bfloat16>(args, stream);
  } else {
    EmbedRows<float>(args, stream);
  }
}

}  // namespace baton::kernels::cuda
