// How far a load is; written by its threads, read by whoever reports.
#pragma once

#include <atomic>
#include <cstdint>

namespace baton::loader {

struct LoadProgress {
  std::atomic<uint64_t> read_bytes = 0;  // from files
  std::atomic<uint64_t> sent_bytes = 0;  // taken by the receivers, their checksums right
};

}  // namespace baton::loader
