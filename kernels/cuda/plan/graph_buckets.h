// Which captured graph runs a step of decode rows.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace baton::kernels::cuda {

// Rows that graphs are captured for, ascending. At most a third of a graph's rows is padding
// from nine rows on, at most half below.
std::span<const int64_t> GraphBuckets();

// The smallest bucket with room for `num_rows` >= 1 rows, among those of at most `max_rows`; none
// for a step that runs without a graph. Rows behind num_rows are padding: their sequence row and
// experts are -1, so that they read no cache and hit no expert.
std::optional<int64_t> GraphBucketFor(int64_t num_rows, int64_t max_rows);

}  // namespace baton::kernels::cuda
