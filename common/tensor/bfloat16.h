// bfloat16: the upper half of a binary32, rounded to nearest even.
#pragma once

#include <bit>
#include <cstdint>

namespace baton {

struct BFloat16 {
  uint16_t bits;

  friend bool operator==(BFloat16 a, BFloat16 b) = default;
};
static_assert(sizeof(BFloat16) == 2);

inline float ToFloat(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

// Nearest even; NaN stays a (quiet) NaN.
inline BFloat16 ToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

inline float ToFloat(float value) { return value; }

// Rounds to the element type T and back: float or BFloat16.
template <typename T>
T FromFloat(float value);
template <>
inline float FromFloat<float>(float value) {
  return value;
}
template <>
inline BFloat16 FromFloat<BFloat16>(float value) {
  return ToBFloat16(value);
}

}  // namespace baton
