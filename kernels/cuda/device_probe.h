// Whether a device is there and can run the kernels of this program.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace baton::kernels::cuda {

// Devices that the driver shows. FailedPrecondition, saying why, if there is no driver or none.
absl::StatusOr<int> NumDevices();

struct DeviceTraits {
  int num_multiprocessors = 0;
  bool is_hopper = false;  // has the instructions of 9.0
};

// Makes `device` current for this thread and asks whether kernels of this program run on it.
// FailedPrecondition naming the device and its capability if none do.
absl::StatusOr<DeviceTraits> ProbeDevice(int device);

}  // namespace baton::kernels::cuda
