// Dense products that a library may compute (cuBLASLt): which of them, how their matrices look to
// it, and its algorithms, each chosen once.
//
// A library promises no order of summation that is the same for every number of rows, and its
// order is not that of our own kernels: a row's bits then depend on how many rows its step has.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "common/tensor/data_type.h"

namespace baton::kernels::cuda {

// Below this our own kernels read a weight few times; rates of cuBLASLt that others published for
// Hopper are 2.2 times lower at 64 rows and less, about even from 1024 on.
inline constexpr int64_t kFewestLibraryRows = 512;
// The library gets a multiple of this: it reads columns of scales at multiples of 16 bytes.
inline constexpr int64_t kLibraryRowMultiple = 16;
// A narrow product gains little. That of the router is one: every device of a stage computes it,
// and all must choose the same experts, whatever library each has.
inline constexpr int64_t kFewestLibraryColumns = 512;
// What an algorithm may use of the stage's scratch.
inline constexpr size_t kLibraryWorkspaceBytes = size_t{32} << 20;

// out[m, n] = x[m, k] W[n, k]^T, all row-major, strides in elements. `type`: of x and W; FP8 has
// scales, of x one per 128 columns, [k / 128][m], of W one per 128 x 128, rows of ceil(k / 128)
// rounded up to a multiple of four.
struct LibraryProduct {
  DataType type = DataType::kFloat8E4M3;  // or bfloat16
  DataType out_type = DataType::kBFloat16;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  int64_t x_stride = 0;
  int64_t weight_stride = 0;
  int64_t out_stride = 0;

  auto operator<=>(const LibraryProduct&) const = default;
};

// How many of `num_rows` rows the library is given, from the first on; our own kernels take the
// others, all if it is 0.
int64_t LibraryRows(int64_t num_rows);

// Whether the library may be asked for the product: matrices whose rows begin at multiples of 16
// bytes, whole scale blocks along k. Addresses are the caller's to check.
bool SuitsLibrary(const LibraryProduct& product);

// A matrix as cuBLAS has it: column after column, `leading` elements from one to the next.
struct ColumnMatrix {
  DataType type = DataType::kFloat32;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t leading = 0;

  bool operator==(const ColumnMatrix&) const = default;
};

enum class ScaleShape { kNone, kVector128, kBlock128x128 };

// The product as D = A^T B.
struct ProductLayout {
  ColumnMatrix a;  // the weight: k x n
  ColumnMatrix b;  // x: k x m
  ColumnMatrix d;  // out: n x m
  ScaleShape a_scales = ScaleShape::kNone;
  ScaleShape b_scales = ScaleShape::kNone;
};
ProductLayout LayOutProduct(const LibraryProduct& product);

// What a library chose, in its own words.
struct ProductAlgorithm {
  std::array<uint64_t, 8> code = {};
  size_t workspace_bytes = 0;
};

class AlgorithmSource {
 public:
  virtual ~AlgorithmSource() = default;
  // The best algorithm for the product within kLibraryWorkspaceBytes; none if there is none.
  virtual std::optional<ProductAlgorithm> Choose(const LibraryProduct& product) = 0;
};

// Algorithms by shape; one for all numbers of rows between two powers of two. Threads: one.
class ProductAlgorithms final {
 public:
  // `source` must outlive this.
  explicit ProductAlgorithms(AlgorithmSource* source) : source_(source) {}

  // The algorithm for the product; null: our own kernels. The first call for a shape asks the
  // source for it and for all smaller numbers of rows: after a stage's largest step nothing is
  // asked any more. product.m >= kFewestLibraryRows.
  const ProductAlgorithm* Find(const LibraryProduct& product);
  // Shapes whose algorithms were chosen since the last call, with the most rows of each: what the
  // device is to run once, so that it has nothing to load in a step to come.
  std::vector<LibraryProduct> TakeChosen();
  // The algorithm did not take the product: from here on Find gives none for its shape.
  void Drop(const LibraryProduct& product);

 private:
  AlgorithmSource* const source_;
  std::map<LibraryProduct, std::optional<ProductAlgorithm>> algorithms_;  // m: the largest
  std::vector<LibraryProduct> chosen_;
};

}  // namespace baton::kernels::cuda
