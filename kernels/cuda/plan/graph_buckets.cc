#include "kernels/cuda/plan/graph_buckets.h"

#include <algorithm>

#include "common/log/check.h"

namespace baton::kernels::cuda {
namespace {

constexpr int64_t kBuckets[] = {1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256};

}  // namespace

std::span<const int64_t> GraphBuckets() { return kBuckets; }

std::optional<int64_t> GraphBucketFor(int64_t num_rows, int64_t max_rows) {
  BATON_CHECK(num_rows >= 1) << num_rows;
  const int64_t* found = std::lower_bound(std::begin(kBuckets), std::end(kBuckets), num_rows);
  if (found == std::end(kBuckets) || *found > max_rows) return std::nullopt;
  return *found;
}

}  // namespace baton::kernels::cuda
