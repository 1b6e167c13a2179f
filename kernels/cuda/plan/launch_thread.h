// One thread of a launch, and the indices that it goes through: what kernels share with the tests
// that walk through a launch on the host.
#pragma once

#include <cstdint>

#include "kernels/cuda/plan/host_device.h"

namespace baton::kernels::cuda {

inline constexpr int kWarpThreads = 32;

struct LaunchThread {
  int64_t block_x = 0;
  int64_t block_y = 0;
  int64_t block_z = 0;
  int index = 0;  // in its block

  BATON_HOST_DEVICE constexpr int warp() const { return index / kWarpThreads; }
  BATON_HOST_DEVICE constexpr int lane() const { return index % kWarpThreads; }
};

// first, first + step, ... below `limit`; for a loop over a range.
template <typename Index>
struct Steps {
  struct Iterator {
    Index at;
    Index step;

    BATON_HOST_DEVICE constexpr Index operator*() const { return at; }
    BATON_HOST_DEVICE constexpr Iterator& operator++() {
      at += step;
      return *this;
    }
    BATON_HOST_DEVICE constexpr bool operator!=(Index limit) const { return at < limit; }
  };

  BATON_HOST_DEVICE constexpr Iterator begin() const { return {first, step}; }
  BATON_HOST_DEVICE constexpr Index end() const { return limit; }

  Index first;
  Index step;
  Index limit;
};

struct RowColumn {
  int64_t row = 0;
  int64_t column = 0;
};

}  // namespace baton::kernels::cuda
