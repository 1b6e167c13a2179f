// Sixteen lanes in plain C++. See simd.h.
#pragma once

#include <cstdint>

namespace baton::kernels::cpu {
namespace {

struct F32x16 {
  float v[16];
};
struct U32x16 {
  uint32_t v[16];
};

template <typename Function>
inline F32x16 EachLane(Function function) {
  F32x16 out;
  for (int i = 0; i < 16; ++i) out.v[i] = function(i);
  return out;
}
template <typename Function>
inline U32x16 EachLaneU(Function function) {
  U32x16 out;
  for (int i = 0; i < 16; ++i) out.v[i] = function(i);
  return out;
}

inline F32x16 Zero() {
  return EachLane([](int) { return 0.0f; });
}
inline F32x16 Set(float value) {
  return EachLane([=](int) { return value; });
}
inline F32x16 Load(const float* p) {
  return EachLane([=](int i) { return p[i]; });
}
inline F32x16 LoadPartial(const float* p, int64_t count) {
  return EachLane([=](int i) { return i < count ? p[i] : 0.0f; });
}
inline void Store(float* p, F32x16 a) {
  for (int i = 0; i < 16; ++i) p[i] = a.v[i];
}
inline void StorePartial(float* p, F32x16 a, int64_t count) {
  for (int64_t i = 0; i < count; ++i) p[i] = a.v[i];
}
inline float WidenBf16(uint16_t bits) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16);
}
inline F32x16 LoadBf16(const uint16_t* p) {
  return EachLane([=](int i) { return WidenBf16(p[i]); });
}
inline F32x16 LoadBf16Partial(const uint16_t* p, int64_t count) {
  return EachLane([=](int i) { return i < count ? WidenBf16(p[i]) : 0.0f; });
}
// Nearest even, NaN quiet: the upper half.
inline uint32_t RoundedBits(float a) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, a);
  const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return (bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : rounded;
}
inline void StoreBf16Partial(uint16_t* p, F32x16 a, int64_t count) {
  for (int64_t i = 0; i < count; ++i) p[i] = static_cast<uint16_t>(RoundedBits(a.v[i]) >> 16);
}
inline void StoreBf16(uint16_t* p, F32x16 a) { StoreBf16Partial(p, a, 16); }
inline F32x16 RoundBf16(F32x16 a) {
  return EachLane(
      [&](int i) { return __builtin_bit_cast(float, RoundedBits(a.v[i]) & 0xffff0000u); });
}
// FP8 codes to float32 x 2^-8: exponent and mantissa moved into place; codes without exponent are
// multiples of 2^-17.
inline float WidenFp8(uint8_t code) {
  const uint32_t magnitude = code & 0x7fu;
  const float normal = __builtin_bit_cast(float, (magnitude << 20) + (112u << 23));
  const float value = magnitude < 8 ? static_cast<float>(magnitude) * 0x1p-17f : normal;
  return __builtin_bit_cast(
      float, __builtin_bit_cast(uint32_t, value) | static_cast<uint32_t>(code & 0x80u) << 24);
}
inline F32x16 LoadFp8(const uint8_t* p) {
  return EachLane([=](int i) { return WidenFp8(p[i]); });
}
inline F32x16 LoadSplitBf16(const uint16_t* p) { return LoadBf16(p); }
inline F32x16 Split(F32x16 a) { return a; }
inline F32x16 Join(F32x16 a) { return a; }
// out[lane * 16 + row] = lane of rows[row], for sixteen rows.
inline void StoreTransposed(const F32x16* rows, float* out) {
  for (int row = 0; row < 16; ++row) {
    for (int lane = 0; lane < 16; ++lane) out[lane * 16 + row] = rows[row].v[lane];
  }
}
// Panels of weights: columns in their order, one step of k at a time.
inline constexpr bool kPanelInterleaved = false;
inline constexpr int kPanelFp8Steps = 1;
inline constexpr float kPanelFp8Factor = 1.0f;
inline constexpr float kPanelFp8Unit = 0x1p8f;
inline F32x16 LoadPanelBf16(const uint16_t* p) { return LoadBf16(p); }
template <typename Use>
inline void StepPanelFp8(const uint8_t* p, Use use) {
  use(0, LoadFp8(p));
}

// Vectors of bytes, for compact panels: see simd_avx512.h.
inline constexpr int64_t kVectorBytes = 64;
struct Bytes {
  uint8_t v[kVectorBytes];
};
struct TwoVectors {
  Bytes first, second;
};
template <typename Function>
inline Bytes EachByte(Function function) {
  Bytes out;
  for (int64_t i = 0; i < kVectorBytes; ++i) out.v[i] = static_cast<uint8_t>(function(i));
  return out;
}
inline Bytes LoadBytes(const uint8_t* p) {
  return EachByte([=](int64_t i) { return p[i]; });
}
inline void StoreBytes(uint8_t* p, Bytes a) {
  for (int64_t i = 0; i < kVectorBytes; ++i) p[i] = a.v[i];
}
inline Bytes RepeatSixteen(const uint8_t* p) {
  return EachByte([=](int64_t i) { return p[i % 16]; });
}
inline Bytes LowerHalves(Bytes a) {
  return EachByte([&](int64_t i) { return a.v[i] & 0x0f; });
}
inline Bytes UpperHalves(Bytes a) {
  return EachByte([&](int64_t i) { return a.v[i] >> 4; });
}
inline Bytes LookUp(Bytes table, Bytes codes) {
  return EachByte([&](int64_t i) { return table.v[codes.v[i]]; });
}
inline Bytes SetByte(Bytes a, uint32_t index, uint8_t value) {
  a.v[index] = value;
  return a;
}
inline TwoVectors Interleave(Bytes a, Bytes b) {
  const auto half = [&](int64_t first) {
    return EachByte([&, first](int64_t i) {
      const int64_t at = i / 16 * 16 + first + i % 16 / 2;
      return i % 2 == 0 ? a.v[at] : b.v[at];
    });
  };
  return {half(0), half(8)};
}
template <int kStep>
inline F32x16 WidenStep(Bytes a) {
  uint16_t values[kVectorBytes / 2];
  __builtin_memcpy(values, a.v, sizeof(values));
  return LoadBf16(values + kStep * 16);
}

inline F32x16 operator+(F32x16 a, F32x16 b) {
  return EachLane([&](int i) { return a.v[i] + b.v[i]; });
}
inline F32x16 operator-(F32x16 a, F32x16 b) {
  return EachLane([&](int i) { return a.v[i] - b.v[i]; });
}
inline F32x16 operator*(F32x16 a, F32x16 b) {
  return EachLane([&](int i) { return a.v[i] * b.v[i]; });
}
inline F32x16 operator/(F32x16 a, F32x16 b) {
  return EachLane([&](int i) { return a.v[i] / b.v[i]; });
}
inline F32x16 Max(F32x16 a, F32x16 b) {
  return EachLane([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
// One rounding, as the arithmetic of draws demands; slow without hardware support.
inline F32x16 ExactFma(F32x16 a, F32x16 b, F32x16 c) {
  return EachLane([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
}
// Two roundings, where only closeness matters.
inline F32x16 MultiplyAdd(F32x16 a, F32x16 b, F32x16 c) {
  return EachLane([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}

inline uint32_t LessMask(F32x16 a, F32x16 b) {
  uint32_t mask = 0;
  for (int i = 0; i < 16; ++i) mask |= static_cast<uint32_t>(a.v[i] < b.v[i]) << i;
  return mask;
}
inline F32x16 SelectLess(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
  return EachLane([&](int i) { return a.v[i] < b.v[i] ? yes.v[i] : no.v[i]; });
}
inline float ReduceAdd(F32x16 a) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) a.v[i] += a.v[i + half];
  }
  return a.v[0];
}
inline float ReduceMax(F32x16 a) {
  float largest = a.v[0];
  for (int i = 1; i < 16; ++i) largest = a.v[i] > largest ? a.v[i] : largest;
  return largest;
}
// Lane j of the result is the sum of the lanes of rows[j].
inline F32x16 ReduceAddRows(const F32x16* rows) {
  return EachLane([=](int j) { return ReduceAdd(rows[j]); });
}

inline U32x16 SetU(uint32_t value) {
  return EachLaneU([=](int) { return value; });
}
inline U32x16 LoadU(const uint32_t* p) {
  return EachLaneU([=](int i) { return p[i]; });
}
inline void StoreU(uint32_t* p, U32x16 a) {
  for (int i = 0; i < 16; ++i) p[i] = a.v[i];
}
inline U32x16 operator+(U32x16 a, U32x16 b) {
  return EachLaneU([&](int i) { return a.v[i] + b.v[i]; });
}
inline U32x16 operator-(U32x16 a, U32x16 b) {
  return EachLaneU([&](int i) { return a.v[i] - b.v[i]; });
}
inline U32x16 operator^(U32x16 a, U32x16 b) {
  return EachLaneU([&](int i) { return a.v[i] ^ b.v[i]; });
}
template <int kCount>
inline U32x16 ShiftLeft(U32x16 a) {
  return EachLaneU([&](int i) { return a.v[i] << kCount; });
}
template <int kCount>
inline U32x16 ShiftRight(U32x16 a) {
  return EachLaneU([&](int i) { return a.v[i] >> kCount; });
}
template <int kCount>
inline U32x16 ShiftRightSigned(U32x16 a) {
  return EachLaneU(
      [&](int i) { return static_cast<uint32_t>(static_cast<int32_t>(a.v[i]) >> kCount); });
}
inline F32x16 SignedToFloat(U32x16 a) {
  return EachLane([&](int i) { return static_cast<float>(static_cast<int32_t>(a.v[i])); });
}
inline U32x16 Bits(F32x16 a) {
  return EachLaneU([&](int i) { return __builtin_bit_cast(uint32_t, a.v[i]); });
}
inline F32x16 FromBits(U32x16 a) {
  return EachLane([&](int i) { return __builtin_bit_cast(float, a.v[i]); });
}
// Upper and lower halves of the 64-bit products.
inline void MultiplyWide(U32x16 a, uint32_t factor, U32x16* high, U32x16* low) {
  for (int i = 0; i < 16; ++i) {
    const uint64_t product = uint64_t{a.v[i]} * factor;
    low->v[i] = static_cast<uint32_t>(product);
    high->v[i] = static_cast<uint32_t>(product >> 32);
  }
}
// Sum of the lanes truncated to integers; lanes are in [0, 2^41).
inline uint64_t SumTruncated(F32x16 a) {
  uint64_t sum = 0;
  for (float lane : a.v) sum += static_cast<uint64_t>(static_cast<int64_t>(lane));
  return sum;
}

}  // namespace
}  // namespace baton::kernels::cpu
