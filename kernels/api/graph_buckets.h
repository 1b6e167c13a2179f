// Which numbers of rows devices that keep graphs keep them for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>

namespace baton::kernels {

inline constexpr int64_t kGraphBuckets[] = {1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256};

// Rows that graphs are kept for, ascending. At most a third of a graph's rows is padding from nine
// rows on, at most half below.
inline std::span<const int64_t> GraphBuckets() { return kGraphBuckets; }

// The smallest bucket with room for `num_rows` >= 1 rows, among those of at most `max_rows`; none
// for a step that runs without a graph. Rows behind num_rows are padding.
inline std::optional<int64_t> GraphBucketFor(int64_t num_rows, int64_t max_rows) {
  const int64_t* found =
      std::lower_bound(std::begin(kGraphBuckets), std::end(kGraphBuckets), num_rows);
  if (found == std::end(kGraphBuckets) || *found > max_rows) return std::nullopt;
  return *found;
}

}  // namespace baton::kernels
