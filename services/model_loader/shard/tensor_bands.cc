#include "services/model_loader/shard/tensor_bands.h"

#include <algorithm>

namespace baton::loader {
namespace {

struct Interval {
  uint64_t begin;
  uint64_t end;
};

// Sorted, disjoint; intervals that touch or lie less than `gap` apart become one.
std::vector<Interval> Unite(std::vector<Interval> intervals, uint64_t gap) {
  std::sort(intervals.begin(), intervals.end(),
            [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  std::vector<Interval> united;
  for (const Interval& interval : intervals) {
    const bool apart = united.empty() || (interval.begin > united.back().end &&
                                          interval.begin - united.back().end >= gap);
    if (apart) {
      united.push_back(interval);
    } else {
      united.back().end = std::max(united.back().end, interval.end);
    }
  }
  return united;
}

uint64_t TotalLength(const std::vector<Interval>& intervals) {
  uint64_t total = 0;
  for (const Interval& interval : intervals) total += interval.end - interval.begin;
  return total;
}

// Cuts one tensor. Columns are counted in bytes.
class Cutter {
 public:
  Cutter(const std::vector<Want>& wants, const ReadPlanOptions& options)
      : wants_(wants),
        options_(options),
        row_bytes_(wants.front().what->tensor_columns * wants.front().what->element_bytes),
        tensor_begin_(wants.front().what->tensor->begin) {}

  std::vector<Band> Cut() {
    std::vector<uint64_t> edges;
    for (const Want& want : wants_) {
      edges.push_back(want.what->row_begin);
      edges.push_back(want.what->row_end);
    }
    std::sort(edges.begin(), edges.end());
    edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
    for (size_t i = 0; i + 1 < edges.size(); ++i) CutRows({edges[i], edges[i + 1]});
    return std::move(bands_);
  }

 private:
  static Interval ColumnBytes(const CheckedSlice& slice) {
    return {slice.column_begin * slice.element_bytes, slice.column_end * slice.element_bytes};
  }

  // Whole rows, or so nearly whole that the gaps between rows are read too.
  bool ReadsThroughRows(const std::vector<Interval>& read) const {
    return read.size() == 1 &&
           row_bytes_ - (read.front().end - read.front().begin) < options_.page_bytes;
  }

  // Rows that the same wants all want.
  void CutRows(Interval rows) {
    active_.clear();
    std::vector<Interval> columns;
    for (const Want& want : wants_) {
      if (want.what->row_begin > rows.begin || want.what->row_end < rows.end) continue;
      active_.push_back(&want);
      columns.push_back(ColumnBytes(*want.what));
    }
    if (active_.empty()) return;
    const std::vector<Interval> needed = Unite(columns, 1);
    const std::vector<Interval> read = Unite(std::move(columns), options_.page_bytes);
    const uint64_t bytes_per_row = TotalLength(read);
    if (bytes_per_row > options_.job_bytes) {
      for (uint64_t row = rows.begin; row < rows.end; ++row) CutLongRow(row, needed);
      return;
    }
    // Gaps between rows take room in the buffer too where they are read.
    const uint64_t buffer_per_row = ReadsThroughRows(read) ? row_bytes_ : bytes_per_row;
    const uint64_t rows_per_band = std::max<uint64_t>(1, options_.job_bytes / buffer_per_row);
    for (uint64_t row = rows.begin; row < rows.end; row += rows_per_band) {
      AddBand({row, std::min(rows.end, row + rows_per_band)}, read, needed);
    }
  }

  void CutLongRow(uint64_t row, const std::vector<Interval>& needed) {
    // A power of two at least as large as any element: pieces end between elements.
    const uint64_t step = std::max<uint64_t>(8, options_.job_bytes / 8 * 8);
    for (const Interval& interval : needed) {
      for (uint64_t begin = interval.begin; begin < interval.end; begin += step) {
        const std::vector<Interval> piece = {{begin, std::min(interval.end, begin + step)}};
        AddBand({row, row + 1}, piece, piece);
      }
    }
  }

  void AddBand(Interval rows, const std::vector<Interval>& read,
               const std::vector<Interval>& needed) {
    Band band;
    const uint64_t num_rows = rows.end - rows.begin;
    const uint64_t first = read.front().begin;
    const uint64_t span = read.back().end - first;
    const bool one_range = read.size() == 1 && (num_rows == 1 || ReadsThroughRows(read));
    const uint64_t row_begin = tensor_begin_ + rows.begin * row_bytes_ + first;
    const std::vector<const Want*> dealt = num_rows > 1 ? Dealt(read) : std::vector<const Want*>();
    if (!dealt.empty()) return AddDealtBand(rows, dealt);
    if (one_range) {
      band.buffer_bytes = (num_rows - 1) * row_bytes_ + span;
      band.ranges.push_back({row_begin, band.buffer_bytes, 0});
    } else {
      for (uint64_t row = 0; row < num_rows; ++row) {
        for (const Interval& interval : read) {
          band.ranges.push_back({row_begin + row * row_bytes_ + (interval.begin - first),
                                 interval.end - interval.begin, band.buffer_bytes});
          band.buffer_bytes += interval.end - interval.begin;
        }
      }
    }
    band.needed_bytes = num_rows * TotalLength(needed);
    AddDeliveries(rows, read, one_range ? row_bytes_ : TotalLength(read), band);
    bands_.push_back(std::move(band));
  }

  // The wants of whole rows by column, if they share the columns out between them, each of them
  // long enough; else nothing.
  std::vector<const Want*> Dealt(const std::vector<Interval>& read) const {
    if (active_.size() < 2 || read.size() != 1 || read.front().end != row_bytes_) return {};
    std::vector<const Want*> dealt = active_;
    std::sort(dealt.begin(), dealt.end(), [](const Want* a, const Want* b) {
      return a->what->column_begin < b->what->column_begin;
    });
    uint64_t next = 0;
    for (const Want* want : dealt) {
      const Interval columns = ColumnBytes(*want->what);
      if (columns.begin != next || columns.end - columns.begin < options_.min_part_bytes) return {};
      next = columns.end;
    }
    return next == row_bytes_ ? dealt : std::vector<const Want*>();
  }

  // One range of whole rows, each want's columns together in the buffer.
  void AddDealtBand(Interval rows, const std::vector<const Want*>& dealt) {
    Band band;
    const uint64_t num_rows = rows.end - rows.begin;
    FileRange range = {tensor_begin_ + rows.begin * row_bytes_, num_rows * row_bytes_, 0};
    band.order = UINT64_MAX;
    for (const Want* want : dealt) {
      const CheckedSlice& slice = *want->what;
      range.parts.push_back({slice.row_bytes(), band.buffer_bytes});
      Delivery delivery;
      delivery.target = want->target;
      delivery.slice = want->slice;
      delivery.slice_offset = (rows.begin - slice.row_begin) * slice.row_bytes();
      delivery.buffer_offset = band.buffer_bytes;
      delivery.num_runs = num_rows;
      delivery.run_bytes = slice.row_bytes();
      delivery.stride = slice.row_bytes();
      band.deliveries.push_back(delivery);
      band.order = std::min(band.order, want->order);
      band.buffer_bytes += num_rows * slice.row_bytes();
    }
    band.needed_bytes = band.buffer_bytes;
    band.ranges.push_back(std::move(range));
    bands_.push_back(std::move(band));
  }

  void AddDeliveries(Interval rows, const std::vector<Interval>& read, uint64_t stride,
                     Band& band) const {
    band.order = UINT64_MAX;
    for (const Want* want : active_) {
      const CheckedSlice& slice = *want->what;
      const Interval columns = ColumnBytes(slice);
      uint64_t before = 0;  // bytes of a row's earlier intervals in the buffer
      for (const Interval& interval : read) {
        const Interval part = {std::max(columns.begin, interval.begin),
                               std::min(columns.end, interval.end)};
        if (part.begin < part.end) {
          Delivery delivery;
          delivery.target = want->target;
          delivery.slice = want->slice;
          delivery.slice_offset =
              (rows.begin - slice.row_begin) * slice.row_bytes() + (part.begin - columns.begin);
          delivery.buffer_offset = before + (part.begin - interval.begin);
          delivery.num_runs = rows.end - rows.begin;
          delivery.run_bytes = part.end - part.begin;
          delivery.stride = stride;
          band.deliveries.push_back(delivery);
          band.order = std::min(band.order, want->order);
        }
        before += interval.end - interval.begin;
      }
    }
  }

  const std::vector<Want>& wants_;
  const ReadPlanOptions& options_;
  const uint64_t row_bytes_;
  const uint64_t tensor_begin_;
  std::vector<const Want*> active_;
  std::vector<Band> bands_;
};

}  // namespace

std::vector<Band> CutIntoBands(const std::vector<Want>& wants, const ReadPlanOptions& options) {
  return Cutter(wants, options).Cut();
}

}  // namespace baton::loader
