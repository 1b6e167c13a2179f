#include "kernels/cuda/float8_linear.h"

#include "common/log/check.h"
#include "kernels/cuda/block_gemm.h"
#include "kernels/cuda/launches/cuda_stream.h"
#include "kernels/cuda/launches/quantise.h"
#include "kernels/cuda/plan/block_gemm_plan.h"
#include "kernels/cuda/tensor_map.h"

namespace baton::kernels::cuda {

bool TakesFloat8Linear(const TensorView& x, const CudaWeight& weight, const TensorView& out) {
  const WeightLayout& layout = weight.layout();
  return x.type == DataType::kBFloat16 && layout.has_whole_blocks() &&
         layout.k % kScaleBlock == 0 && layout.k <= int64_t{kMaxSplitBlocks} * kScaleBlock &&
         x.row_stride % 4 == 0 && reinterpret_cast<uintptr_t>(x.data) % 8 == 0 &&
         out.row_stride % 8 == 0 && reinterpret_cast<uintptr_t>(out.data) % 16 == 0;
}

void LaunchFloat8Linear(const TensorView& x, const CudaWeight& weight, const TensorView& out,
                        DeviceScratch& scratch, cudaStream_t stream) {
  const WeightImage image = weight.image();
  BATON_CHECK(x.columns == image.k && out.columns == image.n && out.rows == x.rows);
  if (out.empty()) return;
  const int64_t groups = x.columns / kScaleBlock;
  scratch.Begin(DeviceScratch::Aligned(static_cast<size_t>(x.num_elements())) +
                DeviceScratch::Aligned(static_cast<size_t>(groups * x.rows) * sizeof(float)));
  auto* codes = scratch.Cut<uint8_t>(x.num_elements());
  auto* scales = scratch.Cut<float>(groups * x.rows);
  LaunchQuantise(x, codes, scales, stream);
  BlockGemmArgs args;
  CheckCuda(EncodeTensorMap(WeightForCopy(image.values, image.n, image.k), &args.weight),
            "tensor map of a weight");
  args.weight_scales = image.scales;
  args.weight_scale_stride = image.scale_pitch;
  args.x = codes;
  args.x_stride = x.columns;
  args.x_scales = scales;
  args.x_scale_stride = x.rows;
  args.m = static_cast<int>(x.rows);
  args.n = static_cast<int>(image.n);
  args.k = static_cast<int>(image.k);
  args.out = out.data;
  args.out_stride = out.row_stride;
  args.out_is_float = out.type == DataType::kFloat32;
  args.programmatic = true;
  CheckCuda(LaunchBlockGemm(args, stream), "FP8 product");
}

}  // namespace baton::kernels::cuda
