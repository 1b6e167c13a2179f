// The CUDA runtime's errors, and the stream that all operations of one device are queued on.
#pragma once

#include <cuda_runtime_api.h>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton::kernels::cuda {

// What a call of the runtime says: ResourceExhausted for memory, FailedPrecondition for an absent
// device or driver, Internal for the rest; the message names `what` and the runtime's own words.
absl::Status ToStatus(cudaError_t error, absl::string_view what);

// Ends the process if a launch or a copy failed: shapes were checked before, and a device whose
// kernels fail holds no state that could be saved.
void CheckCuda(cudaError_t error, absl::string_view what);

// A stream of its own on the device that is current when it is made.
class DeviceStream final {
 public:
  static absl::StatusOr<std::unique_ptr<DeviceStream>> Create();
  ~DeviceStream() { cudaStreamDestroy(stream_); }
  DeviceStream(const DeviceStream&) = delete;
  DeviceStream& operator=(const DeviceStream&) = delete;

  cudaStream_t get() const { return stream_; }

 private:
  explicit DeviceStream(cudaStream_t stream) : stream_(stream) {}

  const cudaStream_t stream_;
};

}  // namespace baton::kernels::cuda
