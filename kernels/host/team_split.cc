#include "kernels/host/team_split.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace baton::kernels {

absl::StatusOr<std::vector<int>> SplitRanks(int num_ranks, int num_devices) {
  if (num_devices < 1 || num_devices > num_ranks) {
    return absl::InvalidArgumentError(
        absl::StrCat(num_ranks, " ranks cannot spread over ", num_devices, " devices"));
  }
  std::vector<int> first_ranks;
  for (int device = 0; device < num_devices; ++device) {
    first_ranks.push_back(device * (num_ranks / num_devices) +
                          std::min(device, num_ranks % num_devices));
  }
  return first_ranks;
}

}  // namespace baton::kernels
