// NCCL, which a machine need not have: only devices that cannot read each other's memory need it.
#pragma once

#include <nccl.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton::kernels::cuda {

// What is used of it, under its own names.
struct NcclLibrary {
  decltype(&ncclCommInitAll) CommInitAll = nullptr;
  decltype(&ncclCommDestroy) CommDestroy = nullptr;
  decltype(&ncclGroupStart) GroupStart = nullptr;
  decltype(&ncclGroupEnd) GroupEnd = nullptr;
  decltype(&ncclSend) Send = nullptr;
  decltype(&ncclRecv) Recv = nullptr;
  decltype(&ncclBroadcast) Broadcast = nullptr;
  decltype(&ncclAllGather) AllGather = nullptr;
  decltype(&ncclGetErrorString) GetErrorString = nullptr;

  absl::Status ToStatus(ncclResult_t result, absl::string_view what) const;
  // Ends the process: devices that have lost each other hold no state that could be saved.
  void Check(ncclResult_t result, absl::string_view what) const;
};

// Loads libnccl.so.2 and never unloads it. FailedPrecondition saying why it cannot be loaded.
absl::StatusOr<NcclLibrary> LoadNccl();

}  // namespace baton::kernels::cuda
