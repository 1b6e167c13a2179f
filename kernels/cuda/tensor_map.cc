#include "kernels/cuda/tensor_map.h"

#include "kernels/cuda/plan/block_gemm_plan.h"
#include "kernels/cuda/plan/mla_plan.h"

namespace baton::kernels::cuda {
namespace {

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

}  // namespace

cudaError_t EncodeTensorMap(const MatrixForCopy& matrix, CUtensorMap* map) {
  // Asked of the driver at run time: nothing links against it.
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry,
                                                             12000, cudaEnableDefault, &found);
  if (error != cudaSuccess) return error;
  if (found != cudaDriverEntryPointSuccess) return cudaErrorInsufficientDriver;
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(matrix.columns),
                               static_cast<cuuint64_t>(matrix.rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(matrix.row_bytes)};
  const cuuint32_t box[2] = {static_cast<cuuint32_t>(kAtomRowBytes / matrix.element_bytes),
                             static_cast<cuuint32_t>(matrix.box_rows)};
  const cuuint32_t steps[2] = {1, 1};
  const CUtensorMapDataType type =
      matrix.element_bytes == 2 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_UINT8;
  const CUresult result = reinterpret_cast<EncodeTiled>(entry)(
      map, type, 2, const_cast<void*>(matrix.data), sizes, strides, box, steps,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

MatrixForCopy WeightForCopy(const void* values, int64_t n, int64_t k) {
  return {.data = values,
          .rows = n,
          .columns = k,
          .row_bytes = k,
          .element_bytes = 1,
          .box_rows = kWeightBoxRows};
}

MatrixForCopy Bf16WeightForCopy(const void* values, int64_t n, int64_t k) {
  return {.data = values,
          .rows = n,
          .columns = k,
          .row_bytes = 2 * k,
          .element_bytes = 2,
          .box_rows = kWeightBoxRows};
}

MatrixForCopy KvForCopy(const void* pages, int64_t tokens, int64_t row_bytes) {
  return {.data = pages,
          .rows = tokens,
          .columns = kKeyDims,
          .row_bytes = row_bytes,
          .element_bytes = 2,
          .box_rows = kMlaBlockTokens};
}

}  // namespace baton::kernels::cuda
