#include "tools/mini_r1/random_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace baton {
namespace {

constexpr float kLargestFloat8 = 448.0f;
// Scale of an all-zero block.
constexpr float kSmallestMagnitude = 1e-12f;
// 1 / deviation of a sum of four uniform 16-bit numbers.
constexpr float kUnit = 1.7320508f / 65536.0f;
constexpr float kMeanOfSum = 4 * 65535 / 2.0f;

// SplitMix64 (public domain, S. Vigna): every input gives an independent number.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

uint64_t TensorKey(absl::string_view name, uint64_t seed) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return Mix(hash ^ Mix(seed));
}

void FillRandom(uint64_t key, uint64_t first, float deviation, std::span<BFloat16> out) {
  const float factor = deviation * kUnit;
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t bits = Mix(key + first + i);
    const uint32_t sum = static_cast<uint32_t>(bits & 0xffffu) + ((bits >> 16) & 0xffffu) +
                         ((bits >> 32) & 0xffffu) + (bits >> 48);
    out[i] = ToBFloat16((static_cast<float>(sum) - kMeanOfSum) * factor);
  }
}

Float8E4M3 ToFloat8E4M3(float value) {
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  if (std::isnan(value)) return {static_cast<uint8_t>(sign | 0x7f)};
  const float magnitude = std::min(std::fabs(value), kLargestFloat8);
  if (magnitude < 0x1p-6f) {
    // Subnormal: multiples of 2^-9; the addition rounds. 8 of them are the smallest normal code.
    const float shifted = magnitude + 0x1.8p14f;
    return {static_cast<uint8_t>(sign | (std::bit_cast<uint32_t>(shifted) & 0xfu))};
  }
  const uint32_t bits = std::bit_cast<uint32_t>(magnitude);
  const uint32_t rounded = bits + 0x7ffffu + ((bits >> 20) & 1u);
  return {static_cast<uint8_t>(sign | ((rounded >> 20) - (120u << 3)))};
}

void QuantizeRows(std::span<const BFloat16> values, int64_t columns, int64_t block,
                  std::span<Float8E4M3> codes, std::span<float> scales) {
  const int64_t rows = static_cast<int64_t>(values.size()) / columns;
  for (int64_t begin = 0; begin < columns; begin += block) {
    const int64_t end = std::min(begin + block, columns);
    float largest = kSmallestMagnitude;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = begin; column < end; ++column) {
        largest = std::max(largest, std::fabs(ToFloat(values[row * columns + column])));
      }
    }
    const float scale = largest / kLargestFloat8;
    scales[begin / block] = scale;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = begin; column < end; ++column) {
        const int64_t i = row * columns + column;
        codes[i] = ToFloat8E4M3(ToFloat(values[i]) / scale);
      }
    }
  }
}

}  // namespace baton
