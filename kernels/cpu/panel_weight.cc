#include "kernels/cpu/panel_weight.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "common/log/check.h"
#include "common/tensor/aligned_buffer.h"
#include "kernels/cpu/compact_panel.h"
#include "kernels/cpu/turn_rows.h"

namespace baton::kernels::cpu {
namespace {

// Eight codes at a time: adding 1 to the seven bits below a code's sign carries if all are set.
bool HasNan(const TensorView& values) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  for (int64_t row = 0; row < values.rows; ++row) {
    const Float8E4M3* codes = values.Row<Float8E4M3>(row);
    uint64_t carries = 0;
    for (int64_t i = 0; i < values.columns; i += 8) {
      uint64_t eight = 0;
      std::memcpy(&eight, codes + i, std::min<int64_t>(values.columns - i, 8));
      carries |= (eight & (0x7f * kOnes)) + kOnes;
    }
    if ((carries & (0x80 * kOnes)) != 0) return true;
  }
  return false;
}

PanelLayout ChoosePlainLayout(const TensorView& values, DataType compute_type, bool pairs) {
  if (compute_type == DataType::kBFloat16 && pairs) {
    return values.type == DataType::kFloat8E4M3 ? PanelLayout::kPairsFloat8
                                                : PanelLayout::kPairsBFloat16;
  }
  if (values.type == DataType::kFloat8E4M3) {
    return HasNan(values) ? PanelLayout::kColumnsBFloat16 : PanelLayout::kColumnsFloat8;
  }
  const bool wide = values.type == DataType::kFloat32 && compute_type == DataType::kFloat32;
  return wide ? PanelLayout::kColumnsFloat32 : PanelLayout::kColumnsBFloat16;
}

// For a weight of `rows` rows, of which `values` has some.
PanelLayout ChooseLayout(const TensorView& values, int64_t rows, DataType compute_type,
                         const VariantKernels& kernels) {
  const PanelLayout plain = ChoosePlainLayout(values, compute_type, kernels.pairs);
  const bool whole_units = values.columns > 0 && values.columns % kCompactSteps == 0;
  const bool scaled = values.type == DataType::kFloat8E4M3;
  const bool large = rows * values.columns >= kernels.compact_from;
  return large && whole_units && !scaled ? CompactLayout(plain) : plain;
}

bool IsPairs(PanelLayout layout) {
  return layout == PanelLayout::kPairsBFloat16 || layout == PanelLayout::kPairsFloat8 ||
         layout == PanelLayout::kPairsCompact;
}

int64_t StepOf(PanelLayout layout, const VariantKernels& kernels) {
  if (IsPairs(layout)) return kernels.pair_step;
  return layout == PanelLayout::kColumnsFloat8 ? kernels.float8_step : 1;
}

int64_t ElementBytes(PanelLayout plain) {
  switch (plain) {
    case PanelLayout::kColumnsFloat32:
      return 4;
    case PanelLayout::kColumnsBFloat16:
    case PanelLayout::kPairsBFloat16:
      return 2;
    case PanelLayout::kColumnsFloat8:
    case PanelLayout::kPairsFloat8:
      return 1;
    case PanelLayout::kColumnsCompact:
    case PanelLayout::kPairsCompact:
      break;
  }
  return 0;
}

// Where the elements of a column stand inside a segment of a panel: `run` steps of k side by side,
// then the next ones `stride` elements further.
struct ColumnPlaces {
  int64_t first;
  int64_t run;
  int64_t stride;
};

ColumnPlaces PlacesOf(PanelLayout layout, bool interleaved, int64_t column) {
  if (layout == PanelLayout::kPairsBFloat16) return {column * 2, 2, 2 * kPanelColumns};
  if (layout == PanelLayout::kPairsFloat8) return {column / 4 * 16 + column % 4 * 2, 2, 8};
  const int64_t paired = column % 8 * 2 + column / 8;
  if (interleaved && layout == PanelLayout::kColumnsBFloat16) return {paired, 1, kPanelColumns};
  if (interleaved && layout == PanelLayout::kColumnsFloat8) {
    return {paired * 2, 2, 2 * kPanelColumns};
  }
  return {column, 1, kPanelColumns};
}

// An element of a weight in the panel's type.
void Convert(float value, float* out) { *out = value; }
void Convert(float value, BFloat16* out) { *out = ToBFloat16(value); }
void Convert(BFloat16 value, BFloat16* out) { *out = value; }
void Convert(Float8E4M3 value, BFloat16* out) { *out = ToBFloat16(ToFloat(value)); }
void Convert(Float8E4M3 value, Float8E4M3* out) { *out = value; }

// Elements [first, length) of one segment of a row.
template <typename From, typename To>
void PlaceRow(PanelLayout layout, bool interleaved, const From* row, int64_t first, int64_t length,
              int64_t column, To* segment) {
  const ColumnPlaces places = PlacesOf(layout, interleaved, column);
  // Pairs of FP8: two runs of a step of four k stand 8 apart, steps 64.
  const bool fours = layout == PanelLayout::kPairsFloat8;
  // What was turned before is whole steps.
  To* to = segment + first * kPanelColumns + places.first;
  for (int64_t k = first; k < length; k += places.run) {
    Convert(row[k], to);
    if (places.run == 2 && k + 1 < length) Convert(row[k + 1], to + 1);
    to += fours && k % 4 == 2 ? 64 - places.stride : places.stride;
  }
}

// Rows of a weight that are the columns of a panel, into it. Rows of the panel's own type are
// turned sixteen at a time, the rest goes element by element.
template <typename From, typename To>
void PlaceRows(PanelLayout layout, bool interleaved, const From* const* rows, int64_t num_rows,
               const Segments& segments, To* panel) {
  int64_t k = 0;
  for (size_t s = 0; s < segments.lengths.size(); ++s) {
    const int64_t length = segments.lengths[s];
    int64_t turned = 0;
    if constexpr (std::is_same_v<From, To>) {
      if (num_rows == kPanelColumns) {
        const std::byte* from[kPanelColumns];
        for (int64_t r = 0; r < kPanelColumns; ++r) {
          from[r] = reinterpret_cast<const std::byte*>(rows[r] + k);
        }
        turned = TurnRows(layout, interleaved, from, length * static_cast<int64_t>(sizeof(To)),
                          reinterpret_cast<std::byte*>(panel)) /
                 static_cast<int64_t>(sizeof(To));
      }
    }
    if (turned < length) {
      for (int64_t r = 0; r < num_rows; ++r) {
        PlaceRow(layout, interleaved, rows[r] + k, turned, length, r, panel);
      }
    }
    k += length;
    panel += segments.padded[s] * kPanelColumns;
  }
}

template <typename Element>
std::array<const Element*, kPanelColumns> RowsFrom(const TensorView& values, int64_t first,
                                                   int64_t count) {
  std::array<const Element*, kPanelColumns> rows = {};
  for (int64_t r = 0; r < count; ++r) rows[r] = values.Row<Element>(first + r);
  return rows;
}

}  // namespace

PanelWeight::PanelWeight(const WeightMatrix& weight, DataType compute_type,
                         const VariantKernels& kernels, WorkerPool& pool, WeightArena& arena)
    : PackedWeight(weight.values.rows, weight.values.columns),
      layout_(ChooseLayout(weight.values, weight.values.rows, compute_type, kernels)),
      interleaved_(kernels.interleaved),
      compact_vector_(kernels.compact_vector),
      num_panels_((n() + kPanelColumns - 1) / kPanelColumns) {
  BATON_CHECK(compute_type == DataType::kFloat32 || compute_type == DataType::kBFloat16);
  const bool scaled = weight.values.type == DataType::kFloat8E4M3;
  BATON_CHECK(!scaled || (weight.block_size > 0 && weight.row_offset >= 0 &&
                          weight.row_offset < weight.block_size && weight.column_offset >= 0 &&
                          weight.column_offset < weight.block_size))
      << weight.block_size << ", " << weight.row_offset << ", " << weight.column_offset;
  LayOut(scaled ? weight.block_size : kUnscaledBlock, scaled ? weight.column_offset : 0, kernels);
  TakeMemory(arena);
  pool.Run(num_panels_, [&](int64_t panel, int) { PackPanel(weight.values, 0, panel, arena); });
  const float unit = layout_ == PanelLayout::kColumnsFloat8 ? kernels.float8_unit : 1.0f;
  if (scaled) PackScales(weight, unit);
}

PanelWeight::PanelWeight(const WeightBand& band, DataType compute_type,
                         const VariantKernels& kernels, WeightArena& arena)
    : PackedWeight(band.weight_rows, band.values.columns),
      layout_(ChooseLayout(band.values, band.weight_rows, compute_type, kernels)),
      interleaved_(kernels.interleaved),
      compact_vector_(kernels.compact_vector),
      num_panels_((n() + kPanelColumns - 1) / kPanelColumns) {
  BATON_CHECK(compute_type == DataType::kFloat32 || compute_type == DataType::kBFloat16);
  // Of these all bands choose the same layout.
  BATON_CHECK(band.values.type != DataType::kFloat8E4M3);
  LayOut(kUnscaledBlock, 0, kernels);
  TakeMemory(arena);
}

void PanelWeight::PackBand(const WeightBand& band, WorkerPool& pool, WeightArena& arena) {
  const int64_t end = band.first_row + band.values.rows;
  BATON_CHECK(owner_ == nullptr) << "adopted weights are not written";
  BATON_CHECK(band.values.columns == k() && band.weight_rows == n() && band.first_row >= 0 &&
              band.first_row % kPanelColumns == 0 && end <= n() &&
              (end == n() || end % kPanelColumns == 0))
      << "rows " << band.first_row << " to " << end << " of " << n();
  const int64_t first = band.first_row / kPanelColumns;
  const int64_t count = (band.values.rows + kPanelColumns - 1) / kPanelColumns;
  pool.Run(count,
           [&](int64_t i, int) { PackPanel(band.values, band.first_row, first + i, arena); });
}

void PanelWeight::LayOut(int64_t block_size, int64_t column_offset, const VariantKernels& kernels) {
  block_size_ = block_size;
  column_offset_ = column_offset;
  CutSegments(block_size, column_offset, StepOf(layout_, kernels));
  plain_bytes_ = segments_.padded_k * kPanelColumns * ElementBytes(PlainLayout(layout_));
  panel_bytes_ = IsCompact(layout_) ? CompactPanelBytes(segments_.padded_k) : plain_bytes_;
}

void PanelWeight::TakeMemory(WeightArena& arena) {
  BATON_CHECK(segments_.padded_k <= kProductPackedRows) << "k is " << k();
  own_panels_ = arena.Take(static_cast<size_t>(panel_bytes_ * num_panels_));
  panels_ = own_panels_.get();
  if (!IsCompact(layout_)) return;
  own_plain_panels_.resize(static_cast<size_t>(num_panels_));
  plain_panels_.resize(static_cast<size_t>(num_panels_));
}

void PanelWeight::CutSegments(int64_t block_size, int64_t column_offset, int64_t step) {
  int64_t begin = 0;
  for (int64_t end = block_size - column_offset; begin < k(); end += block_size) {
    const int64_t length = std::min(end, k()) - begin;
    const int64_t padded = (length + step - 1) / step * step;
    segments_.lengths.push_back(static_cast<int32_t>(length));
    segments_.padded.push_back(static_cast<int32_t>(padded));
    segments_.padded_k += padded;
    if (padded != length) segments_.natural = false;
    begin += length;
  }
}

void PanelWeight::PackPanel(const TensorView& values, int64_t first_row, int64_t panel,
                            WeightArena& arena) {
  std::byte* to = own_panels_.get() + panel * panel_bytes_;
  if (!IsCompact(layout_)) return PlacePanel(values, first_row, panel, to);
  AlignedBuffer plain(static_cast<size_t>(plain_bytes_));
  PlacePanel(values, first_row, panel, plain.data());
  WeightMemory& kept = own_plain_panels_[static_cast<size_t>(panel)];
  if (WriteCompactPanel(reinterpret_cast<const BFloat16*>(plain.data()), segments_.padded_k,
                        compact_vector_, to)) {
    kept = nullptr;
  } else {
    if (kept == nullptr) kept = arena.Take(plain.size());
    std::memcpy(kept.get(), plain.data(), plain.size());
  }
  plain_panels_[static_cast<size_t>(panel)] = kept.get();
}

void PanelWeight::PlacePanel(const TensorView& values, int64_t first_row, int64_t panel,
                             std::byte* to) const {
  const PanelLayout layout = PlainLayout(layout_);
  const int64_t count = std::min(kPanelColumns, n() - panel * kPanelColumns);
  const int64_t first = panel * kPanelColumns - first_row;  // of `values`
  const auto place = [&](const auto& rows, auto elements) {
    PlaceRows(layout, interleaved_, rows.data(), count, segments_, elements);
  };
  if (values.type == DataType::kFloat32) {
    const auto rows = RowsFrom<float>(values, first, count);
    layout == PanelLayout::kColumnsFloat32 ? place(rows, reinterpret_cast<float*>(to))
                                           : place(rows, reinterpret_cast<BFloat16*>(to));
  } else if (values.type == DataType::kBFloat16) {
    place(RowsFrom<BFloat16>(values, first, count), reinterpret_cast<BFloat16*>(to));
  } else {
    const auto rows = RowsFrom<Float8E4M3>(values, first, count);
    ElementBytes(layout) == 1 ? place(rows, reinterpret_cast<Float8E4M3*>(to))
                              : place(rows, reinterpret_cast<BFloat16*>(to));
  }
}

void PanelWeight::PackScales(const WeightMatrix& weight, float unit) {
  const auto block_row = [&](int64_t row) { return (weight.row_offset + row) / weight.block_size; };
  for (int64_t panel = 0; panel < num_panels_; ++panel) {
    const int64_t first = panel * kPanelColumns;
    const int64_t last = std::min(first + kPanelColumns, n()) - 1;
    if (block_row(first) != block_row(last)) lane_scales_ = true;
  }
  const int64_t num_segments = static_cast<int64_t>(segments_.lengths.size());
  const int64_t lanes = lane_scales_ ? kPanelColumns : 1;
  own_scales_.reserve(num_panels_ * num_segments * lanes);
  for (int64_t panel = 0; panel < num_panels_; ++panel) {
    for (int64_t segment = 0; segment < num_segments; ++segment) {
      for (int64_t lane = 0; lane < lanes; ++lane) {
        const int64_t row = std::min(panel * kPanelColumns + lane, n() - 1);
        own_scales_.push_back(weight.scales.Row<float>(block_row(row))[segment] * unit);
      }
    }
  }
  scales_ = own_scales_;
}

RowForm PanelWeight::row_form() const { return {IsPairs(layout_) ? &segments_ : nullptr}; }

size_t PanelWeight::bytes() const {
  size_t bytes = static_cast<size_t>(panel_bytes_ * num_panels_) + scales_.size_bytes();
  for (const std::byte* plain : plain_panels_) {
    if (plain != nullptr) bytes += static_cast<size_t>(plain_bytes_);
  }
  return bytes;
}

int64_t PanelWeight::RunEnd(int64_t begin, int64_t end) const {
  if (plain_panels_.empty()) return end;
  const auto is_plain = [](const std::byte* panel) { return panel != nullptr; };
  if (is_plain(plain_panels_[static_cast<size_t>(begin)])) return begin + 1;
  return std::find_if(plain_panels_.begin() + begin, plain_panels_.begin() + end, is_plain) -
         plain_panels_.begin();
}

void PanelWeight::Describe(int64_t begin, int64_t end, PanelProduct* product) const {
  product->layout = layout_;
  product->panels = reinterpret_cast<const uint8_t*>(panels_) + begin * panel_bytes_;
  product->panel_bytes = panel_bytes_;
  product->stray_offset = IsCompact(layout_) ? CompactStrayOffset(segments_.padded_k) : 0;
  if (begin < end && !plain_panels_.empty() &&
      plain_panels_[static_cast<size_t>(begin)] != nullptr) {
    const std::byte* plain = plain_panels_[static_cast<size_t>(begin)];
    product->layout = PlainLayout(layout_);
    product->panels = reinterpret_cast<const uint8_t*>(plain);
    product->panel_bytes = plain_bytes_;
  }
  product->num_panels = end - begin;
  product->segment_sizes = segments_.lengths.data();
  product->segment_lengths = segments_.padded.data();
  product->num_segments = static_cast<int64_t>(segments_.padded.size());
  product->lane_scales = lane_scales_;
  const int64_t panel_scales = product->num_segments * (lane_scales_ ? kPanelColumns : 1);
  product->scales = scales_.empty() ? nullptr : scales_.data() + begin * panel_scales;
  product->out_columns = std::min(end * kPanelColumns, n()) - begin * kPanelColumns;
}

}  // namespace baton::kernels::cpu
