// A packed weight as the bytes that it consists of: what a device gives out and takes up again, in
// the same process or in another, without packing anew.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace baton::kernels {

struct WeightImage {
  // Multiples of which pieces must begin at, in memory, to be adopted. Those that are exported may
  // begin anywhere: who copies them aligns the copies.
  static constexpr size_t kAlignment = 64;

  int64_t n = 0;
  int64_t k = 0;
  // How the pieces are laid out, in numbers of the backend's own.
  std::array<int64_t, 4> form = {};
  // As many as the backend has; any may be empty.
  std::vector<std::span<const std::byte>> pieces;
};

}  // namespace baton::kernels
