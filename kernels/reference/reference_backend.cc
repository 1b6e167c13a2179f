#include "kernels/reference/reference_backend.h"

#include <utility>
#include <vector>

#include "kernels/host/host_memory.h"
#include "kernels/host/shared_memory_collectives.h"
#include "kernels/host/team_split.h"
#include "kernels/reference/reference_ops.h"

namespace baton::kernels {
namespace {

class ReferenceBackend final : public Backend {
 public:
  bool expands_prompts() const override { return true; }
  absl::StatusOr<Team> CreateTeam(int num_ranks, int num_devices) override {
    absl::StatusOr<std::vector<int>> first_ranks = SplitRanks(num_ranks, num_devices);
    if (!first_ranks.ok()) return first_ranks.status();
    auto collectives = CreateSharedMemoryCollectives(num_ranks, *first_ranks);
    Team team;
    team.name = "reference";
    for (int device = 0; device < num_devices; ++device) {
      const int first = (*first_ranks)[device];
      const int end = device + 1 < num_devices ? (*first_ranks)[device + 1] : num_ranks;
      team.devices.push_back(
          {first, end - first, std::make_unique<ReferenceOps>(), std::move(collectives[device])});
    }
    return team;
  }

  DeviceMemory memory() const override { return ReadHostMemory(); }
};

}  // namespace

std::unique_ptr<Backend> CreateReferenceBackend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace baton::kernels
