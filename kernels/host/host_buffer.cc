#include "kernels/host/host_buffer.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace baton::kernels {
namespace {

constexpr size_t kAlignment = 64;

}  // namespace

HostBuffer::HostBuffer(void* memory, size_t bytes) : memory_(memory), bytes_(bytes) {
  const auto address = reinterpret_cast<uintptr_t>(memory);
  aligned_ = reinterpret_cast<void*>((address + kAlignment - 1) / kAlignment * kAlignment);
}

absl::StatusOr<std::unique_ptr<DeviceBuffer>> HostBuffer::Create(size_t bytes) {
  // calloc maps large blocks without touching them.
  void* memory = bytes > SIZE_MAX - kAlignment ? nullptr : std::calloc(bytes + kAlignment, 1);
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("host memory: no ", bytes, " bytes"));
  }
  return std::unique_ptr<DeviceBuffer>(new HostBuffer(memory, bytes));
}

}  // namespace baton::kernels
