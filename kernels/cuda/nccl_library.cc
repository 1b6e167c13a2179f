#include "kernels/cuda/nccl_library.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"

namespace baton::kernels::cuda {
namespace {

constexpr char kNcclName[] = "libnccl.so.2";

template <typename Function>
bool Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

}  // namespace

absl::Status NcclLibrary::ToStatus(ncclResult_t result, absl::string_view what) const {
  if (result == ncclSuccess) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": NCCL: ", GetErrorString(result));
  return result == ncclInvalidUsage || result == ncclInvalidArgument
             ? absl::FailedPreconditionError(message)
             : absl::InternalError(message);
}

void NcclLibrary::Check(ncclResult_t result, absl::string_view what) const {
  BATON_CHECK_OK(ToStatus(result, what));
}

absl::StatusOr<NcclLibrary> LoadNccl() {
  void* library = dlopen(kNcclName, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return absl::FailedPreconditionError(dlerror());
  NcclLibrary nccl;
  const bool found =
      Find(library, "ncclCommInitAll", &nccl.CommInitAll) &&
      Find(library, "ncclCommDestroy", &nccl.CommDestroy) &&
      Find(library, "ncclGroupStart", &nccl.GroupStart) &&
      Find(library, "ncclGroupEnd", &nccl.GroupEnd) && Find(library, "ncclSend", &nccl.Send) &&
      Find(library, "ncclRecv", &nccl.Recv) && Find(library, "ncclBroadcast", &nccl.Broadcast) &&
      Find(library, "ncclAllGather", &nccl.AllGather) &&
      Find(library, "ncclGetErrorString", &nccl.GetErrorString);
  if (!found) {
    return absl::FailedPreconditionError(absl::StrCat(kNcclName, " is too old: ", dlerror()));
  }
  return nccl;
}

}  // namespace baton::kernels::cuda
