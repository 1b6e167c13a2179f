// Working memory of one device's operations, reused by every call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/tensor/aligned_buffer.h"

namespace baton::kernels::cpu {

// Pieces stay where they are until the next Reset. Once it has seen its largest call it allocates
// nothing more, and holds an eighth more than that needed.
class Scratch {
 public:
  // Takes back all pieces; there is room then for the most that was taken between two Resets.
  void Reset();

  // `count` elements, aligned to 64 bytes, not cleared.
  template <typename T>
  T* Take(int64_t count) {
    return reinterpret_cast<T*>(TakeBytes(static_cast<size_t>(count) * sizeof(T)));
  }

  size_t bytes() const { return total_; }

 private:
  std::byte* TakeBytes(size_t bytes);

  std::vector<AlignedBuffer> chunks_;  // the last one is being filled
  size_t used_ = 0;                    // of the last chunk
  size_t total_ = 0;                   // of all chunks
  size_t taken_ = 0;                   // since the last Reset
  size_t most_taken_ = 0;              // between two Resets
};

}  // namespace baton::kernels::cpu
