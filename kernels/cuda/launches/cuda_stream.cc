#include "kernels/cuda/launches/cuda_stream.h"

#include "absl/strings/str_cat.h"

#include "common/log/check.h"

namespace baton::kernels::cuda {

absl::Status ToStatus(cudaError_t error, absl::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string message =
      absl::StrCat(what, ": ", cudaGetErrorName(error), ", ", cudaGetErrorString(error));
  switch (error) {
    case cudaErrorMemoryAllocation:
      return absl::ResourceExhaustedError(message);
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorInvalidDevice:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorDevicesUnavailable:
      return absl::FailedPreconditionError(message);
    default:
      return absl::InternalError(message);
  }
}

void CheckCuda(cudaError_t error, absl::string_view what) { BATON_CHECK_OK(ToStatus(error, what)); }

absl::StatusOr<std::unique_ptr<DeviceStream>> DeviceStream::Create() {
  cudaStream_t stream = nullptr;
  absl::Status made = ToStatus(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
  if (!made.ok()) return made;
  return std::unique_ptr<DeviceStream>(new DeviceStream(stream));
}

}  // namespace baton::kernels::cuda
