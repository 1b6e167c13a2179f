// Memory into which slices are received, used again for the slices that follow: fresh pages cost
// the system about as much time as the bytes that arrive in them.
#pragma once

#include <cstddef>
#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#include "common/tensor/aligned_buffer.h"

namespace baton::stage {

class ReceiveBuffers {
 public:
  // Of what nobody uses, so much is kept at most, in bytes.
  static constexpr size_t kMostKept = size_t{64} << 20;

  // A buffer of `bytes` or more, but less than twice as many if it was used before; its contents
  // are anything.
  AlignedBuffer Take(size_t bytes);
  void Give(AlignedBuffer buffer);
  // Frees what is kept.
  void Clear();

  size_t kept_bytes() const;

  // Threads: any.

 private:
  mutable absl::Mutex mutex_;
  std::multimap<size_t, AlignedBuffer> kept_ ABSL_GUARDED_BY(mutex_);  // by size
  size_t kept_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::stage
