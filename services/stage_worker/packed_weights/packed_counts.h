// What the packed weights of a stage came to, for metrics and status.
#pragma once

#include <atomic>
#include <cstdint>

namespace baton::stage {

// As a snapshot shows them.
struct PackedCacheCounts {
  // Since the process began, over all stages that it made.
  uint64_t num_adopted = 0;  // devices whose weights were found
  uint64_t num_missed = 0;   // devices whose weights had to be loaded
  uint64_t num_damaged = 0;  // of these, whose file was there and damaged
  uint64_t num_written = 0;
  // Of the stage that is loaded now.
  uint64_t mapped_bytes = 0;  // of files that are in use, or are being checked
  double adopt_seconds = 0;   // that finding, checking and mapping took
};

// Counts that outlive each stage. Any thread.
struct PackedCounters {
  std::atomic<uint64_t> num_adopted{0};
  std::atomic<uint64_t> num_missed{0};
  std::atomic<uint64_t> num_damaged{0};
  std::atomic<uint64_t> num_written{0};

  void CopyTo(PackedCacheCounts* counts) const {
    counts->num_adopted = num_adopted;
    counts->num_missed = num_missed;
    counts->num_damaged = num_damaged;
    counts->num_written = num_written;
  }
};

}  // namespace baton::stage
