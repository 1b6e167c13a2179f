#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"

#include "kernels/reference/reference_ops.h"
#include "kernels/reference/rows.h"

namespace baton::kernels {
namespace {

// Weights without scales are summed in blocks of this size too, which keeps rounding errors small.
constexpr int64_t kUnscaledBlock = 128;
// Of an adopted weight.
constexpr int64_t kMostColumns = int64_t{1} << 24;

const ReferenceWeight& Unpack(const PackedWeight* weight) {
  BATON_CHECK(weight != nullptr);
  return *static_cast<const ReferenceWeight*>(weight);
}

std::span<const float> FloatsOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

}  // namespace

ReferenceWeight::ReferenceWeight(const WeightMatrix& weight, DataType compute_type)
    : PackedWeight(weight.values.rows, weight.values.columns) {
  const bool scaled = weight.values.type == DataType::kFloat8E4M3;
  const int64_t block = scaled ? weight.block_size : kUnscaledBlock;
  BATON_CHECK(block > 0);
  const int64_t row_offset = scaled ? weight.row_offset : 0;
  const int64_t column_offset = scaled ? weight.column_offset : 0;
  BATON_CHECK(row_offset >= 0 && row_offset < block && column_offset >= 0 && column_offset < block);
  CutBlocks(block, column_offset);
  own_values_.reserve(n() * k());
  for (int64_t i = 0; i < n(); ++i) {
    for (float value : LoadRow(weight.values, i)) {
      own_values_.push_back(scaled ? value : RoundTo(compute_type, value));
    }
    for (size_t b = 0; b < block_ends_.size(); ++b) {
      own_scales_.push_back(scaled ? weight.scales.Row<float>((row_offset + i) / block)[b] : 1.0f);
    }
  }
  values_ = own_values_;
  scales_ = own_scales_;
}

ReferenceWeight::ReferenceWeight(int64_t n, int64_t k)
    : PackedWeight(n, k), own_values_(static_cast<size_t>(n * k)) {
  CutBlocks(kUnscaledBlock, 0);
  own_scales_.assign(static_cast<size_t>(n) * block_ends_.size(), 1.0f);
  values_ = own_values_;
  scales_ = own_scales_;
}

WeightImage ReferenceWeight::image() const {
  return {n(), k(), {block_, column_offset_}, {std::as_bytes(values_), std::as_bytes(scales_)}};
}

absl::StatusOr<std::unique_ptr<PackedWeight>> ReferenceWeight::Adopt(
    const WeightImage& image, std::shared_ptr<const void> owner) {
  const auto [block, column_offset, unused, unused_too] = image.form;
  if (image.n < 0 || image.n > INT32_MAX || image.k < 0 || image.k > kMostColumns || block < 1 ||
      block > INT32_MAX || column_offset < 0 || column_offset >= block || unused != 0 ||
      unused_too != 0) {
    return absl::InvalidArgumentError(absl::StrCat("a packed weight of ", image.n, " x ", image.k,
                                                   ", blocks of ", block, " from ", column_offset));
  }
  std::unique_ptr<ReferenceWeight> weight(new ReferenceWeight(Adopted(), image.n, image.k));
  weight->CutBlocks(block, column_offset);
  const std::array<int64_t, 2> sizes = {image.n * image.k,
                                        image.n * static_cast<int64_t>(weight->block_ends_.size())};
  if (image.pieces.size() != sizes.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a packed weight has ", image.pieces.size(), " pieces"));
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    const std::span<const std::byte>& piece = image.pieces[i];
    const bool aligned = reinterpret_cast<uintptr_t>(piece.data()) % WeightImage::kAlignment == 0;
    if (aligned && piece.size() == static_cast<size_t>(sizes[i]) * sizeof(float)) continue;
    return absl::InvalidArgumentError(absl::StrCat("piece ", i, " of a packed weight has ",
                                                   piece.size(), " bytes, not ", sizes[i],
                                                   " aligned numbers"));
  }
  weight->values_ = FloatsOf(image.pieces[0]);
  weight->scales_ = FloatsOf(image.pieces[1]);
  weight->owner_ = std::move(owner);
  return weight;
}

void ReferenceWeight::CutBlocks(int64_t block, int64_t column_offset) {
  block_ = block;
  column_offset_ = column_offset;
  for (int64_t end = block - column_offset; end < k(); end += block) block_ends_.push_back(end);
  if (k() > 0) block_ends_.push_back(k());
}

void ReferenceWeight::SetRows(int64_t first_row, const TensorView& values, DataType compute_type) {
  BATON_CHECK(values.columns == k() && first_row >= 0 && first_row + values.rows <= n())
      << first_row << " + " << values.rows << " of " << n();
  for (int64_t i = 0; i < values.rows; ++i) {
    float* row = own_values_.data() + (first_row + i) * k();
    for (const float value : LoadRow(values, i)) *row++ = RoundTo(compute_type, value);
  }
}

size_t ReferenceWeight::bytes() const { return (values_.size() + scales_.size()) * sizeof(float); }

std::vector<float> ReferenceWeight::Product(const std::vector<float>& x) const {
  BATON_CHECK(static_cast<int64_t>(x.size()) == k()) << x.size() << " columns, weight has " << k();
  std::vector<float> out(n());
  const int64_t num_blocks = static_cast<int64_t>(block_ends_.size());
  for (int64_t i = 0; i < n(); ++i) {
    float total = 0.0f;
    int64_t j = 0;
    for (int64_t b = 0; b < num_blocks; ++b) {
      float sum = 0.0f;
      for (; j < block_ends_[b]; ++j) sum += x[j] * values_[i * k() + j];
      total += sum * scales_[i * num_blocks + b];
    }
    out[i] = total;
  }
  return out;
}

std::unique_ptr<PackedWeight> ReferenceOps::Pack(const WeightMatrix& weight,
                                                 DataType compute_type) {
  return std::make_unique<ReferenceWeight>(weight, compute_type);
}

void ReferenceOps::PackBand(const WeightBand& band, DataType compute_type,
                            std::unique_ptr<PackedWeight>& weight) {
  BATON_CHECK(band.values.type != DataType::kFloat8E4M3);
  if (weight == nullptr) {
    weight = std::make_unique<ReferenceWeight>(band.weight_rows, band.values.columns);
  }
  static_cast<ReferenceWeight*>(weight.get())->SetRows(band.first_row, band.values, compute_type);
}

std::string ReferenceOps::packing() const { return "reference"; }

WeightImage ReferenceOps::Export(const PackedWeight& weight) const {
  return Unpack(&weight).image();
}

absl::StatusOr<std::unique_ptr<PackedWeight>> ReferenceOps::Adopt(
    const WeightImage& image, std::shared_ptr<const void> owner) const {
  return ReferenceWeight::Adopt(image, std::move(owner));
}

void ReferenceOps::Linear(const LinearArgs& args) {
  const ReferenceWeight& weight = Unpack(args.weight);
  BATON_CHECK(args.x.rows == args.out.rows);
  for (int64_t row = 0; row < args.x.rows; ++row) {
    StoreRow(weight.Product(LoadRow(args.x, row)), args.out, row);
  }
}

void ReferenceOps::HeadwiseLinear(const HeadwiseLinearArgs& args) {
  const int64_t heads = static_cast<int64_t>(args.weights.size());
  for (int64_t head = 0; head < heads; ++head) {
    const int64_t n = args.weights[head]->n();
    const int64_t k = args.weights[head]->k();
    const int64_t stride = args.x_head_stride == 0 ? k : args.x_head_stride;
    Linear({args.x.Columns(head * stride, k), args.weights[head], args.out.Columns(head * n, n)});
  }
}

}  // namespace baton::kernels
