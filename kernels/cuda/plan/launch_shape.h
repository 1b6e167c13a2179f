// How many threads a kernel is launched with, and whether a device can run that.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace baton::kernels::cuda {

struct LaunchShape {
  int64_t grid_x = 1;
  int64_t grid_y = 1;
  int64_t grid_z = 1;
  int64_t block = 1;         // threads
  int64_t shared_bytes = 0;  // dynamic
  int64_t cluster = 1;       // blocks, along x

  // Nothing to launch.
  constexpr bool empty() const { return grid_x == 0 || grid_y == 0 || grid_z == 0; }
};

// What a device can do.
struct DeviceLimits {
  int64_t max_grid_x = 2147483647;
  int64_t max_grid_yz = 65535;
  int64_t max_block = 1024;
  int64_t max_shared_bytes = 0;
  int64_t max_cluster = 1;  // portable: larger ones need a device's consent
  int64_t num_multiprocessors = 0;
};

// H100 and H200 (SXM). Source: CUDA C++ Programming Guide, technical specifications of 9.0.
inline constexpr DeviceLimits kHopper = {
    .max_shared_bytes = 227 * 1024, .max_cluster = 8, .num_multiprocessors = 132};
// A100. Source: the same, 8.0.
inline constexpr DeviceLimits kAmpere = {
    .max_shared_bytes = 163 * 1024, .max_cluster = 1, .num_multiprocessors = 108};

// What every device can do with a kernel as it was compiled.
inline constexpr DeviceLimits kAnyDevice = {.max_shared_bytes = 48 * 1024};

// InvalidArgument naming `kernel` and the first figure that the device does not allow: an empty or
// too large grid, a block that is no whole number of warps, too much shared memory, a cluster that
// does not divide the grid.
absl::Status CheckLaunch(absl::string_view kernel, const LaunchShape& shape,
                         const DeviceLimits& limits);

// Blocks that cover `size` elements, `per_block` each; none for none.
constexpr int64_t NumBlocks(int64_t size, int64_t per_block) {
  return (size + per_block - 1) / per_block;
}

}  // namespace baton::kernels::cuda
