#include <algorithm>

#include "kernels/reference/reference_ops.h"
#include "kernels/reference/rows.h"

namespace baton::kernels {
namespace {

// Weights without scales are summed in blocks of this size too, which keeps rounding errors small.
constexpr int64_t kUnscaledBlock = 128;

const ReferenceWeight& Unpack(const PackedWeight* weight) {
  BATON_CHECK(weight != nullptr);
  return *static_cast<const ReferenceWeight*>(weight);
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
  values_.reserve(n() * k());
  for (int64_t i = 0; i < n(); ++i) {
    for (float value : LoadRow(weight.values, i)) {
      values_.push_back(scaled ? value : RoundTo(compute_type, value));
    }
    for (size_t b = 0; b < block_ends_.size(); ++b) {
      scales_.push_back(scaled ? weight.scales.Row<float>((row_offset + i) / block)[b] : 1.0f);
    }
  }
}

ReferenceWeight::ReferenceWeight(int64_t n, int64_t k)
    : PackedWeight(n, k), values_(static_cast<size_t>(n * k)) {
  CutBlocks(kUnscaledBlock, 0);
  scales_.assign(static_cast<size_t>(n) * block_ends_.size(), 1.0f);
}

void ReferenceWeight::CutBlocks(int64_t block, int64_t column_offset) {
  for (int64_t end = block - column_offset; end < k(); end += block) block_ends_.push_back(end);
  if (k() > 0) block_ends_.push_back(k());
}

void ReferenceWeight::SetRows(int64_t first_row, const TensorView& values, DataType compute_type) {
  BATON_CHECK(values.columns == k() && first_row >= 0 && first_row + values.rows <= n())
      << first_row << " + " << values.rows << " of " << n();
  for (int64_t i = 0; i < values.rows; ++i) {
    float* row = values_.data() + (first_row + i) * k();
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
