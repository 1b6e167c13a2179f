#include "kernels/cuda/cuda_backend.h"

#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/log/log.h"
#include "kernels/cuda/collectives.h"
#include "kernels/cuda/cublas_library.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/device_probe.h"
#include "kernels/cuda/launches/device_memory.h"
#include "kernels/host/team_split.h"

namespace baton::kernels {
namespace {

class CudaBackend final : public Backend {
 public:
  CudaBackend(int num_devices, const CudaOptions& options,
              const std::optional<cuda::CublasLibrary>& cublas)
      : num_devices_(num_devices), options_(options), cublas_(cublas) {}

  bool expands_prompts() const override { return false; }
  absl::StatusOr<Team> CreateTeam(int num_ranks, int num_devices) override {
    absl::StatusOr<std::vector<int>> first_ranks = SplitRanks(num_ranks, num_devices);
    if (!first_ranks.ok()) return first_ranks.status();
    if (num_devices > num_devices_) {
      return absl::FailedPreconditionError(
          absl::StrCat(num_devices, " CUDA devices are wanted; this machine shows ", num_devices_));
    }
    Team team;
    team.name = options_.plain_kernels ? "cuda/plain"
                : cublas_.has_value()  ? "cuda/cublas"
                                       : "cuda";
    std::vector<cuda::TeamDevice> places;
    for (int device = 0; device < num_devices; ++device) {
      const int first = (*first_ranks)[device];
      const int end = device + 1 < num_devices ? (*first_ranks)[device + 1] : num_ranks;
      absl::StatusOr<std::unique_ptr<cuda::CudaOps>> ops =
          cuda::CudaOps::Create(device, options_, cublas_.has_value() ? &*cublas_ : nullptr);
      if (!ops.ok()) return ops.status();
      places.push_back({device, first, (*ops)->stream()});
      team.devices.push_back({first, end - first, *std::move(ops), nullptr});
    }
    auto ends = cuda::CreateCollectives(num_ranks, places, options_.through_nccl);
    if (!ends.ok()) return ends.status();
    for (size_t device = 0; device < team.devices.size(); ++device) {
      team.devices[device].collectives = std::move((*ends)[device]);
    }
    return team;
  }

  DeviceMemory memory() const override { return cuda::MemoryOf(0); }

 private:
  const int num_devices_;
  const CudaOptions options_;
  const std::optional<cuda::CublasLibrary> cublas_;
};

// What options ask for. A machine without it takes Baton's own kernels, whose sums have another
// order.
std::optional<cuda::CublasLibrary> CublasFor(const CudaOptions& options) {
  if (!options.through_cublas || options.plain_kernels) return std::nullopt;
  absl::StatusOr<cuda::CublasLibrary> cublas = cuda::LoadCublas();
  if (cublas.ok()) return *cublas;
  BATON_LOG(WARNING) << "products take Baton's own kernels: " << cublas.status().message();
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const CudaOptions& options) {
  // The driver would otherwise load a kernel at its first launch, and wait for the device to do so,
  // on which a kernel may be waiting for another device that has yet to launch its own. It reads
  // this when it starts, which the next line makes it do.
  setenv("CUDA_MODULE_LOADING", "EAGER", /*overwrite=*/0);
  absl::StatusOr<int> num_devices = cuda::NumDevices();
  if (!num_devices.ok()) return num_devices.status();
  return std::make_unique<CudaBackend>(*num_devices, options, CublasFor(options));
}

}  // namespace baton::kernels
