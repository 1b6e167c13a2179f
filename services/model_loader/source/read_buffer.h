// Page-aligned memory for reads, reused: fresh pages cost as much as the copy into them.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace baton::loader {

class ReadBuffer {
 public:
  // Contents are undefined. Ends the process if memory is exhausted.
  explicit ReadBuffer(size_t bytes);

  std::span<std::byte> span() { return {memory_.get(), bytes_}; }
  std::span<const std::byte> span() const { return {memory_.get(), bytes_}; }
  size_t capacity() const { return capacity_; }
  // Uses the first `bytes` of the capacity.
  void Resize(size_t bytes);

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t capacity_;
  size_t bytes_;
};

// Keeps a few buffers for reuse. Buffers may outlive the pool. Any thread.
class BufferPool {
 public:
  // Buffers have room for at least `min_capacity` bytes, so that most fit most uses.
  BufferPool(size_t max_kept, size_t min_capacity);

  // A buffer of `bytes`; it returns to the pool when the last reference goes.
  std::shared_ptr<ReadBuffer> Take(size_t bytes);

 private:
  struct Kept {
    absl::Mutex mutex;
    std::vector<std::unique_ptr<ReadBuffer>> buffers ABSL_GUARDED_BY(mutex);
  };
  const size_t max_kept_;
  const size_t min_capacity_;
  std::shared_ptr<Kept> kept_;
};

}  // namespace baton::loader
