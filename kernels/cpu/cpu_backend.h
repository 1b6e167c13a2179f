// The backend for processors: vectorised, threaded, weights packed once.
#pragma once

#include <memory>
#include <optional>

#include "absl/status/statusor.h"

#include "kernels/api/ops.h"
#include "kernels/cpu/cpu_variant.h"

namespace baton::kernels {

struct CpuOptions {
  // Of each device, its caller's thread included. 1: no other threads.
  int num_threads_per_device = 1;
  // Unset: the best that the machine has.
  std::optional<CpuVariant> variant;
};

// Devices are threads of this process, one caller each. Threads that a device adds sleep when it
// has no work. Errors: InvalidArgument (threads), FailedPrecondition (variant not on this machine).
absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuOptions& options);

// With given kernels, which must outlive the backend: for tests of kernels that are not a variant.
absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackendWith(const cpu::VariantKernels& kernels,
                                                              int num_threads_per_device);

}  // namespace baton::kernels
