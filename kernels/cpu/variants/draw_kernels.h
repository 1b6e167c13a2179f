// Scans of a row of logits: extremes, probability mass, noisy argmax.
#pragma once

#include "kernels/cpu/variants/row_kernels.h"
#include "kernels/cpu/variants/simd_math.h"
#include "kernels/cpu/variants/variant_kernels.h"

namespace baton::kernels::cpu {
namespace {

inline constexpr float kInfinity = __builtin_inff();

// Lanes from `count` on become `filler`.
inline F32x16 LoadOr(const float* p, int64_t count, float filler) {
  if (count == kPanelColumns) return Load(p);
  float lanes[16];
  for (int64_t i = 0; i < kPanelColumns; ++i) lanes[i] = i < count ? p[i] : filler;
  return Load(lanes);
}

RowExtremes Extremes(const float* values, int64_t size) {
  F32x16 largest = Set(-kInfinity);
  uint32_t finite = 0xffffu;
  uint32_t moderate = 0xffffu;
  EachVector(size, [&](int64_t i, int64_t count) {
    const F32x16 value = LoadOr(values + i, count, 0.0f);
    const U32x16 sign = ShiftLeft<31>(ShiftRight<31>(Bits(value)));
    const F32x16 magnitude = FromBits(Bits(value) ^ sign);
    finite &= LessMask(magnitude, Set(kInfinity));
    moderate &= LessMask(magnitude, Set(math::kLargestLogit));
    largest = Max(LoadOr(values + i, count, -kInfinity), largest);
  });
  RowExtremes result = {ReduceMax(largest), 0, finite == 0xffffu, moderate == 0xffffu};
  for (int64_t i = 0; i < size; ++i) {
    if (values[i] == result.largest) {
      result.index = static_cast<uint32_t>(i);
      break;
    }
  }
  return result;
}

void ScaleRow(const float* values, int64_t size, float temperature, float largest, float* out) {
  const F32x16 divisor = Set(temperature);
  const F32x16 origin = Set(largest / temperature);
  EachVector(size, [&](int64_t i, int64_t count) {
    PutLanes<Float32Row>(out + i, GetLanes<Float32Row>(values + i, count) / divisor - origin,
                         count);
  });
}

uint64_t Mass(const float* values, int64_t size, float largest) {
  const F32x16 origin = Set(largest);
  uint64_t sum = 0;
  EachVector(size, [&](int64_t i, int64_t count) {
    const F32x16 difference = LoadOr(values + i, count, -kInfinity) - origin;
    sum += SumTruncated(ExpOf(difference) * Set(kMassOne));
  });
  return sum;
}

void Masses(const float* values, int64_t size, float* out) {
  EachVector(size, [&](int64_t i, int64_t count) {
    PutLanes<Float32Row>(out + i, ExpOf(GetLanes<Float32Row>(values + i, count)) * Set(kMassOne),
                         count);
  });
}

int64_t FindAbove(const float* values, int64_t begin, int64_t size, float bound) {
  int64_t i = begin;
  for (; i + kPanelColumns <= size; i += kPanelColumns) {
    const uint32_t above = LessMask(Set(bound), Load(values + i));
    if (above != 0) return i + __builtin_ctz(above);
  }
  for (; i < size; ++i) {
    if (values[i] > bound) return i;
  }
  return size;
}

DrawResult Draw(const float* values, int64_t size, uint64_t seed, uint32_t position) {
  DrawResult best = {-kInfinity, 0};
  float noise[4 * kPanelColumns];
  static constexpr uint32_t kLanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  constexpr int64_t kStep = 4 * kPanelColumns;  // one counter gives four tokens' words
  for (int64_t begin = 0; begin < size; begin += kStep) {
    const int64_t count = size - begin < kStep ? size - begin : kStep;
    F32x16 largest = Set(-kInfinity);
    EachVector(count, [&](int64_t i, int64_t lanes) {
      largest = Max(largest, LoadOr(values + begin + i, lanes, -kInfinity));
    });
    // Where not even the largest noise could win, none is drawn.
    if (ReduceMax(largest) + math::kLargestGumbel < best.score) continue;
    U32x16 words[4];
    PhiloxOf(LoadU(kLanes) + SetU(static_cast<uint32_t>(begin / 4)), position, seed, words);
    float by_word[4][kPanelColumns];
    for (int w = 0; w < 4; ++w) Store(by_word[w], GumbelOf(words[w]));
    for (int64_t i = 0; i < kStep; ++i) noise[i] = by_word[i % 4][i / 4];
    for (int64_t i = 0; i < count; ++i) {
      const float score = values[begin + i] + noise[i];
      if (score > best.score) best = {score, static_cast<uint32_t>(begin + i)};
    }
  }
  return best;
}

void SigmoidRow(const float* values, int64_t size, float* out) {
  EachVector(size, [&](int64_t i, int64_t count) {
    PutLanes<Float32Row>(out + i, SigmoidOf(GetLanes<Float32Row>(values + i, count)), count);
  });
}

}  // namespace
}  // namespace baton::kernels::cpu
