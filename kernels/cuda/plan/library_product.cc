#include "kernels/cuda/plan/library_product.h"

#include <utility>

#include "common/log/check.h"

namespace baton::kernels::cuda {
namespace {

constexpr int64_t kAlignedBytes = 16;
constexpr int64_t kScaledElements = 128;

bool HasAlignedRows(DataType type, int64_t stride) {
  return stride * static_cast<int64_t>(SizeOf(type)) % kAlignedBytes == 0;
}

// Of the products with one algorithm, that of the most rows.
LibraryProduct LargestLike(LibraryProduct product) {
  BATON_CHECK(product.m >= kFewestLibraryRows) << product.m << " rows";
  int64_t rows = kFewestLibraryRows;
  while (rows < product.m) rows *= 2;
  product.m = rows;
  return product;
}

}  // namespace

int64_t LibraryRows(int64_t num_rows) {
  if (num_rows < kFewestLibraryRows) return 0;
  return num_rows / kLibraryRowMultiple * kLibraryRowMultiple;
}

bool SuitsLibrary(const LibraryProduct& product) {
  const bool is_float8 = product.type == DataType::kFloat8E4M3;
  if (!is_float8 && product.type != DataType::kBFloat16) return false;
  if (is_float8 && product.k % kScaledElements != 0) return false;
  return product.m >= kFewestLibraryRows && product.m % kLibraryRowMultiple == 0 &&
         product.n >= kFewestLibraryColumns && product.k > 0 &&
         HasAlignedRows(product.type, product.n) && HasAlignedRows(product.type, product.k) &&
         HasAlignedRows(product.type, product.x_stride) &&
         HasAlignedRows(product.type, product.weight_stride) &&
         HasAlignedRows(product.out_type, product.out_stride);
}

ProductLayout LayOutProduct(const LibraryProduct& product) {
  ProductLayout layout;
  layout.a = {product.type, product.k, product.n, product.weight_stride};
  layout.b = {product.type, product.k, product.m, product.x_stride};
  layout.d = {product.out_type, product.n, product.m, product.out_stride};
  if (product.type == DataType::kFloat8E4M3) {
    layout.a_scales = ScaleShape::kBlock128x128;
    layout.b_scales = ScaleShape::kVector128;
  }
  return layout;
}

const ProductAlgorithm* ProductAlgorithms::Find(const LibraryProduct& product) {
  const LibraryProduct key = LargestLike(product);
  if (!algorithms_.contains(key)) {
    for (LibraryProduct smaller = key; smaller.m >= kFewestLibraryRows; smaller.m /= 2) {
      if (algorithms_.contains(smaller)) continue;
      algorithms_[smaller] = source_->Choose(smaller);
      if (algorithms_[smaller].has_value()) chosen_.push_back(smaller);
    }
  }
  const std::optional<ProductAlgorithm>& algorithm = algorithms_[key];
  return algorithm.has_value() ? &*algorithm : nullptr;
}

std::vector<LibraryProduct> ProductAlgorithms::TakeChosen() {
  return std::exchange(chosen_, std::vector<LibraryProduct>());
}

void ProductAlgorithms::Drop(const LibraryProduct& product) {
  algorithms_[LargestLike(product)] = std::nullopt;
}

}  // namespace baton::kernels::cuda
