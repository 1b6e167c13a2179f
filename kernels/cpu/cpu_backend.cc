#include "kernels/cpu/cpu_backend.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "kernels/cpu/cpu_ops.h"
#include "kernels/host/host_memory.h"
#include "kernels/host/shared_memory_collectives.h"
#include "kernels/host/team_split.h"

namespace baton::kernels {
namespace {

constexpr int kMostThreads = 1024;

class CpuBackend final : public Backend {
 public:
  CpuBackend(const cpu::VariantKernels& kernels, int num_threads)
      : kernels_(kernels), num_threads_(num_threads) {}

  bool expands_prompts() const override { return true; }
  absl::StatusOr<Team> CreateTeam(int num_ranks, int num_devices) override {
    absl::StatusOr<std::vector<int>> first_ranks = SplitRanks(num_ranks, num_devices);
    if (!first_ranks.ok()) return first_ranks.status();
    auto collectives = CreateSharedMemoryCollectives(num_ranks, *first_ranks);
    Team team;
    team.name = absl::StrCat("cpu/", kernels_.name);
    for (int device = 0; device < num_devices; ++device) {
      const int first = (*first_ranks)[device];
      const int end = device + 1 < num_devices ? (*first_ranks)[device + 1] : num_ranks;
      team.devices.push_back({first, end - first,
                              std::make_unique<cpu::CpuOps>(kernels_, num_threads_),
                              std::move(collectives[device])});
    }
    return team;
  }

  DeviceMemory memory() const override { return ReadHostMemory(); }

 private:
  const cpu::VariantKernels& kernels_;
  const int num_threads_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuOptions& options) {
  const CpuVariant variant = options.variant.value_or(AvailableCpuVariants().back());
  absl::StatusOr<const cpu::VariantKernels*> kernels = FindCpuKernels(variant);
  if (!kernels.ok()) return kernels.status();
  return CreateCpuBackendWith(**kernels, options.num_threads_per_device);
}

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackendWith(const cpu::VariantKernels& kernels,
                                                              int num_threads_per_device) {
  if (num_threads_per_device < 1 || num_threads_per_device > kMostThreads) {
    return absl::InvalidArgumentError(absl::StrCat("threads per device: ", num_threads_per_device,
                                                   " is not in [1, ", kMostThreads, "]"));
  }
  return std::make_unique<CpuBackend>(kernels, num_threads_per_device);
}

}  // namespace baton::kernels
