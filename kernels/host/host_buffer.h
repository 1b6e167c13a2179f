// Device memory of backends whose device is the host.
#pragma once

#include <cstdlib>
#include <memory>

#include "absl/status/statusor.h"

#include "kernels/api/ops.h"

namespace baton::kernels {

class HostBuffer final : public DeviceBuffer {
 public:
  // Zeroed, aligned to 64 bytes; pages that are never touched cost no memory. ResourceExhausted
  // with the size if the host refuses.
  static absl::StatusOr<std::unique_ptr<DeviceBuffer>> Create(size_t bytes);

  void* data() override { return aligned_; }
  size_t bytes() const override { return bytes_; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  HostBuffer(void* memory, size_t bytes);

  std::unique_ptr<void, Free> memory_;
  void* aligned_;
  size_t bytes_;
};

}  // namespace baton::kernels
