// The memory of a SeparateDevices' device: what it has handed out, and whether what it is given
// lies in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

#include "common/log/check.h"
#include "common/tensor/tensor_view.h"
#include "kernels/api/ops.h"
#include "tests/fakes/separate_device.h"

namespace baton::fakes {

// What one device has handed out. Any thread.
class OwnMemory {
 public:
  explicit OwnMemory(const SeparateDeviceOptions& options) : options_(options) {}

  kernels::DeviceMemory Read() const {
    const absl::MutexLock lock(&mutex_);
    return {options_.total_bytes, FreeBytes()};
  }
  absl::Status Add(void* data, size_t bytes) {
    const absl::MutexLock lock(&mutex_);
    if (bytes > FreeBytes()) {
      return absl::ResourceExhaustedError(
          absl::StrCat(bytes, " bytes of a device with ", FreeBytes(), " free"));
    }
    used_bytes_ += bytes;
    buffers_[static_cast<std::byte*>(data)] = bytes;
    return absl::OkStatus();
  }
  void Remove(std::unique_ptr<kernels::DeviceBuffer> buffer) {
    const absl::MutexLock lock(&mutex_);
    const auto found = buffers_.find(static_cast<std::byte*>(buffer->data()));
    used_bytes_ -= found->second;
    buffers_.erase(found);
    if (keeps_gone_) gone_.push_back(std::move(buffer));
  }
  // While graphs may name memory that is gone, nothing new lies where it was: they would be taken
  // to name that.
  void KeepGone(bool keep) {
    const absl::MutexLock lock(&mutex_);
    keeps_gone_ = keep;
    if (!keep) gone_.clear();
  }
  // Whether all `bytes` from `data` on lie in one buffer of the device.
  bool Holds(const void* data, size_t bytes) const {
    const absl::MutexLock lock(&mutex_);
    const auto* begin = static_cast<const std::byte*>(data);
    auto after = buffers_.upper_bound(const_cast<std::byte*>(begin));
    if (after == buffers_.begin()) return false;
    --after;
    return begin + bytes <= after->first + after->second;
  }

 private:
  uint64_t FreeBytes() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return options_.total_bytes - options_.others_bytes - used_bytes_;
  }

  const SeparateDeviceOptions options_;
  mutable absl::Mutex mutex_;
  uint64_t used_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::byte*, size_t> buffers_ ABSL_GUARDED_BY(mutex_);
  bool keeps_gone_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::unique_ptr<kernels::DeviceBuffer>> gone_ ABSL_GUARDED_BY(mutex_);
};

// Memory of the device, which it gets back.
class OwnBuffer final : public kernels::DeviceBuffer {
 public:
  OwnBuffer(std::unique_ptr<kernels::DeviceBuffer> inner, std::shared_ptr<OwnMemory> memory)
      : inner_(std::move(inner)), memory_(std::move(memory)) {}
  ~OwnBuffer() override { memory_->Remove(std::move(inner_)); }
  void* data() override { return inner_->data(); }
  size_t bytes() const override { return inner_->bytes(); }

 private:
  std::unique_ptr<kernels::DeviceBuffer> inner_;
  const std::shared_ptr<OwnMemory> memory_;
};

// Ends the process unless all of it is in the device's memory; likewise the others.
inline void CheckOwn(const OwnMemory& memory, const TensorView& view) {
  if (view.empty()) return;
  const auto elements = static_cast<size_t>((view.rows - 1) * view.row_stride + view.columns);
  BATON_CHECK(memory.Holds(view.data, elements * SizeOf(view.type)))
      << "a tensor of " << view.rows << " x " << view.columns << " is not in the device's memory";
}

template <typename T>
inline void CheckOwn(const OwnMemory& memory, std::span<T> values) {
  if (values.empty()) return;
  BATON_CHECK(memory.Holds(values.data(), values.size_bytes()))
      << "an array of " << values.size() << " is not in the device's memory";
}

inline void CheckOwn(const OwnMemory& memory, const kernels::StepLayout& layout) {
  CheckOwn(memory, layout.positions);
  CheckOwn(memory, layout.sequence_rows);
  CheckOwn(memory, layout.block_tables);
}

}  // namespace baton::fakes
