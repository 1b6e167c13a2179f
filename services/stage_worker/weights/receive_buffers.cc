#include "services/stage_worker/weights/receive_buffers.h"

#include <utility>

namespace baton::stage {

AlignedBuffer ReceiveBuffers::Take(size_t bytes) {
  {
    const absl::MutexLock lock(&mutex_);
    const auto found = kept_.lower_bound(bytes);
    if (found != kept_.end() && found->first < 2 * bytes) {
      AlignedBuffer buffer = std::move(found->second);
      kept_bytes_ -= found->first;
      kept_.erase(found);
      return buffer;
    }
  }
  return AlignedBuffer(bytes);
}

void ReceiveBuffers::Give(AlignedBuffer buffer) {
  const size_t bytes = buffer.size();
  const absl::MutexLock lock(&mutex_);
  if (bytes == 0 || kept_bytes_ + bytes > kMostKept) return;
  kept_bytes_ += bytes;
  kept_.emplace(bytes, std::move(buffer));
}

void ReceiveBuffers::Clear() {
  const absl::MutexLock lock(&mutex_);
  kept_.clear();
  kept_bytes_ = 0;
}

size_t ReceiveBuffers::kept_bytes() const {
  const absl::MutexLock lock(&mutex_);
  return kept_bytes_;
}

}  // namespace baton::stage
