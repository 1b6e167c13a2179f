// Memory of packed weights: large mappings that the kernel is asked to back by huge pages, cut into
// pieces in the order of packing. Streams through weights then miss the TLB rarely, and pages are
// touched once, by the thread that packs.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace baton::kernels::cpu {

// Zeroed bytes of one weight; its mapping is given back with the last piece.
using WeightMemory = std::shared_ptr<std::byte>;

class WeightArena final {
 public:
  // `bytes` zeroed bytes, aligned to 64; null for 0. Ends the process if memory is exhausted: sizes
  // are planned and checked before. Threads: any.
  WeightMemory Take(size_t bytes);

 private:
  absl::Mutex mutex_;
  WeightMemory mapping_ ABSL_GUARDED_BY(mutex_);
  size_t size_ ABSL_GUARDED_BY(mutex_) = 0;  // of the mapping
  size_t used_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::kernels::cpu
