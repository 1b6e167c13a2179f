#include "kernels/cuda/bf16_linear.h"

#include "common/log/check.h"
#include "kernels/cuda/bf16_gemm.h"
#include "kernels/cuda/launches/cuda_stream.h"
#include "kernels/cuda/tensor_map.h"

namespace baton::kernels::cuda {

bool TakesBf16Linear(const TensorView& x, int64_t x_head_stride,
                     std::span<const PackedWeight* const> weights) {
  const WeightLayout& layout = Unpack(weights.front()).layout();
  return x.type == DataType::kBFloat16 && layout.type == DataType::kBFloat16 && layout.k > 0 &&
         layout.k % 8 == 0 && x.row_stride % 8 == 0 && x_head_stride % 8 == 0 &&
         reinterpret_cast<uintptr_t>(x.data) % 16 == 0 &&
         (weights.size() == 1 || layout.n % 4 == 0);
}

void LaunchBf16Linear(const TensorView& x, int64_t x_head_stride,
                      std::span<const PackedWeight* const> weights, const TensorView& out,
                      WeightTables& tables, PinnedRing& ring, cudaStream_t stream) {
  const WeightImage first = Unpack(weights.front()).image();
  const auto heads = static_cast<int64_t>(weights.size());
  BATON_CHECK(out.columns == heads * first.n && out.rows == x.rows);
  BATON_CHECK(x.columns >= (heads - 1) * x_head_stride + first.k);
  if (out.empty()) return;
  Bf16GemmArgs args;
  if (heads == 1) {
    CheckCuda(EncodeTensorMap(Bf16WeightForCopy(first.values, first.n, first.k), &args.weight),
              "tensor map of a weight");
  } else {
    args.head_maps = tables.Heads(weights, ring, stream);
  }
  args.x = x.data;
  args.x_stride = x.row_stride;
  args.x_head_stride = x_head_stride;
  args.m = static_cast<int>(x.rows);
  args.n = static_cast<int>(first.n);
  args.k = static_cast<int>(first.k);
  args.heads = static_cast<int>(heads);
  args.out = out.data;
  args.out_stride = out.row_stride;
  args.out_is_float = out.type == DataType::kFloat32;
  args.programmatic = true;
  CheckCuda(LaunchBf16Gemm(args, stream), "bfloat16 product");
}

}  // namespace baton::kernels::cuda
