#include "kernels/cuda/cublas_linear.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "kernels/cuda/launches/quantise.h"

namespace baton::kernels::cuda {
namespace {

constexpr int64_t kScaleColumns = 128;

bool IsAtSixteenBytes(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % 16 == 0;
}

// Of the rows that the library is given; none if it may not be asked.
std::optional<LibraryProduct> LibraryProductOf(const TensorView& x, const CudaWeight& weight,
                                               const TensorView& out) {
  const WeightLayout& layout = weight.layout();
  const bool is_float8 = layout.has_whole_blocks();
  if (x.type != DataType::kBFloat16 || (!is_float8 && layout.type != DataType::kBFloat16) ||
      !IsAtSixteenBytes(x.data) || !IsAtSixteenBytes(out.data)) {
    return std::nullopt;
  }
  const LibraryProduct product = {.type = layout.type,
                                  .out_type = out.type,
                                  .m = LibraryRows(x.rows),
                                  .n = layout.n,
                                  .k = layout.k,
                                  .x_stride = is_float8 ? layout.k : x.row_stride,
                                  .weight_stride = layout.value_pitch,
                                  .out_stride = out.row_stride};
  // Quantisation reads four elements at a time.
  if (!SuitsLibrary(product) || x.row_stride % 4 != 0) return std::nullopt;
  return product;
}

}  // namespace

int64_t CublasLinear::Run(const TensorView& x, const CudaWeight& weight, const TensorView& out,
                          DeviceScratch& scratch, cudaStream_t stream) {
  const std::optional<LibraryProduct> product = LibraryProductOf(x, weight, out);
  if (!product.has_value()) return 0;
  const TensorView rows = x.Rows(0, product->m);
  const WeightImage image = weight.image();
  ProductOperands operands;
  operands.x = rows.data;
  operands.weight = image.values;
  operands.weight_scales = image.scales;
  operands.out = out.data;
  // As much as any algorithm may need, and before it is known whether there is one: no other number
  // of rows then moves the scratch.
  size_t bytes = kLibraryWorkspaceBytes;
  const int64_t groups = product->k / kScaleColumns;
  const bool is_float8 = product->type == DataType::kFloat8E4M3;
  if (is_float8) {
    bytes += DeviceScratch::Aligned(static_cast<size_t>(rows.num_elements())) +
             DeviceScratch::Aligned(static_cast<size_t>(groups * rows.rows) * sizeof(float));
  }
  scratch.Begin(bytes);
  const bool has_algorithm = algorithms_.Find(*product) != nullptr;
  const std::vector<LibraryProduct> chosen = algorithms_.TakeChosen();
  if (!has_algorithm && chosen.empty()) return 0;
  void* workspace = scratch.Cut<std::byte>(static_cast<int64_t>(kLibraryWorkspaceBytes));
  if (is_float8) {
    auto* codes = scratch.Cut<uint8_t>(rows.num_elements());
    auto* scales = scratch.Cut<float>(groups * rows.rows);
    LaunchQuantise(rows, codes, scales, stream);
    operands.x = codes;
    operands.x_scales = scales;
  }
  // On fewer of these rows; what comes of it is written over by the product itself.
  for (LibraryProduct smaller : chosen) {
    smaller.m = std::min(smaller.m, product->m);
    Multiply(smaller, operands, workspace, stream);
  }
  return Multiply(*product, operands, workspace, stream) ? product->m : 0;
}

bool CublasLinear::Multiply(const LibraryProduct& product, const ProductOperands& operands,
                            void* workspace, cudaStream_t stream) {
  const ProductAlgorithm* algorithm = algorithms_.Find(product);
  if (algorithm == nullptr) return false;
  if (products_->Multiply(product, *algorithm, operands, workspace, stream)) return true;
  algorithms_.Drop(product);
  return false;
}

}  // namespace baton::kernels::cuda
