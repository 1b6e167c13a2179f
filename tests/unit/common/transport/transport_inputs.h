#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace baton {

// A deadline that only a hang misses.
inline absl::Time Soon() { return absl::Now() + absl::Seconds(10); }

// `size` bytes that depend on `seed` alone.
inline std::vector<std::byte> RandomBytes(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

}  // namespace baton
