#include "services/stage_worker/packed_weights/packed_room.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace baton::stage {
namespace {

// Of the file system, that stays free where nobody gives a bound: 1 / this. Kubernetes, for one,
// begins to evict pods when less than a tenth or 15 % of a node's is.
constexpr uint64_t kFreeShare = 5;

}  // namespace

absl::StatusOr<std::vector<size_t>> ChooseRemovals(uint64_t bytes, std::span<const KeptFile> files,
                                                   const RoomLimits& limits) {
  uint64_t held = limits.written_bytes;
  for (const KeptFile& file : files) held += file.bytes;
  uint64_t free = limits.free_bytes;
  const uint64_t stays_free = limits.max_bytes == 0 ? limits.total_bytes / kFreeShare : 0;
  const auto fits = [&] {
    const bool is_within = limits.max_bytes == 0 || held + bytes <= limits.max_bytes;
    return is_within && bytes + stays_free <= free;
  };
  std::vector<size_t> removals;
  for (size_t i = 0; i < files.size() && !fits(); ++i) {
    if (!files[i].is_removable) continue;
    removals.push_back(i);
    held -= std::min(held, files[i].bytes);
    free += files[i].disk_bytes;
  }
  if (fits()) return removals;
  return absl::ResourceExhaustedError(
      absl::StrCat("no room for ", bytes, " bytes: without what is unused the files have ", held,
                   limits.max_bytes == 0 ? "" : absl::StrCat(" of at most ", limits.max_bytes),
                   ", and ", free, " would be free, of which ", stays_free, " stay so"));
}

}  // namespace baton::stage
