// Which files of packed weights go so that another one fits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

namespace baton::stage {

struct KeptFile {
  uint64_t bytes = 0;         // its size
  uint64_t disk_bytes = 0;    // what its removal gives back
  bool is_removable = false;  // nobody uses it
};

// The file system as it is, with all of `KeptFile`s and of what is being written in it.
struct RoomLimits {
  uint64_t max_bytes = 0;      // of all files together; 0: a fifth of the file system stays free
  uint64_t written_bytes = 0;  // size of the files that others are writing
  uint64_t total_bytes = 0;    // of the file system
  uint64_t free_bytes = 0;     // beside what others have been promised
};

// Indices of the fewest files, in their order (the least lately used first), without which one of
// `bytes` fits. ResourceExhausted with the figures, if it would not fit without all that may go:
// then none is to go.
absl::StatusOr<std::vector<size_t>> ChooseRemovals(uint64_t bytes, std::span<const KeptFile> files,
                                                   const RoomLimits& limits);

}  // namespace baton::stage
