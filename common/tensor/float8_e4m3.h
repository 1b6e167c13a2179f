// FP8 E4M3 as DeepSeek stores weights: 1 sign, 4 exponent bits (bias 7), 3 mantissa bits; no
// infinities; 0x7f and 0xff are NaN; largest finite 448; subnormals are multiples of 2^-9. Every
// value is exact in bfloat16. Source: OCP FP8 specification, table "E4M3".
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace baton {

struct Float8E4M3 {
  uint8_t bits;
};
static_assert(sizeof(Float8E4M3) == 1);

inline float ToFloat(Float8E4M3 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x80u) << 24;
  const uint32_t exponent = (value.bits >> 3) & 0xfu;
  const uint32_t mantissa = value.bits & 0x7u;
  if (exponent == 0xf && mantissa == 0x7) return std::numeric_limits<float>::quiet_NaN();
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-9f;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 120) << 23) | (mantissa << 20));
}

}  // namespace baton
