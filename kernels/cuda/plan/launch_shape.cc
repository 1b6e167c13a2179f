#include "kernels/cuda/plan/launch_shape.h"

#include "absl/strings/str_cat.h"

namespace baton::kernels::cuda {
namespace {

constexpr int64_t kWarp = 32;

absl::Status Refuse(absl::string_view kernel, absl::string_view what, int64_t value, int64_t most) {
  return absl::InvalidArgumentError(
      absl::StrCat("launch of ", kernel, ": ", what, " is ", value, "; the device allows ", most));
}

}  // namespace

absl::Status CheckLaunch(absl::string_view kernel, const LaunchShape& shape,
                         const DeviceLimits& limits) {
  const auto check = [&](absl::string_view what, int64_t value, int64_t most) {
    return value >= 1 && value <= most ? absl::OkStatus() : Refuse(kernel, what, value, most);
  };
  for (const absl::Status& status : {check("grid x", shape.grid_x, limits.max_grid_x),
                                     check("grid y", shape.grid_y, limits.max_grid_yz),
                                     check("grid z", shape.grid_z, limits.max_grid_yz),
                                     check("block", shape.block, limits.max_block),
                                     check("cluster", shape.cluster, limits.max_cluster)}) {
    if (!status.ok()) return status;
  }
  if (shape.block % kWarp != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("launch of ", kernel, ": ", shape.block, " threads are no whole warps"));
  }
  if (shape.shared_bytes < 0 || shape.shared_bytes > limits.max_shared_bytes) {
    return Refuse(kernel, "shared memory", shape.shared_bytes, limits.max_shared_bytes);
  }
  if (shape.grid_x % shape.cluster != 0) {
    return absl::InvalidArgumentError(absl::StrCat("launch of ", kernel, ": clusters of ",
                                                   shape.cluster, " do not divide a grid of ",
                                                   shape.grid_x));
  }
  return absl::OkStatus();
}

}  // namespace baton::kernels::cuda
