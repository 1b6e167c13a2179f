#include "kernels/reference/reference_ops.h"

#include <cstring>

#include "kernels/host/host_buffer.h"

namespace baton::kernels {

absl::StatusOr<std::unique_ptr<DeviceBuffer>> ReferenceOps::Allocate(size_t bytes) {
  return HostBuffer::Create(bytes);
}

void ReferenceOps::CopyToDevice(void* device, const void* host, size_t bytes) {
  if (bytes != 0) std::memcpy(device, host, bytes);
}

void ReferenceOps::CopyToHost(void* host, const void* device, size_t bytes) {
  if (bytes != 0) std::memcpy(host, device, bytes);
}

}  // namespace baton::kernels
