// Sixteen lanes as two vectors of AVX2, FMA and F16C. See simd.h.
#pragma once

#include <cstdint>
#include <immintrin.h>

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
namespace baton::kernels::cpu {
namespace {

struct F32x16 {
  __m256 lo, hi;
};
struct U32x16 {
  __m256i lo, hi;
};

inline F32x16 Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline F32x16 Set(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
inline F32x16 Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void Store(float* p, F32x16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
inline F32x16 LoadPartial(const float* p, int64_t count) {
  float lanes[16] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return Load(lanes);
}
inline void StorePartial(float* p, F32x16 a, int64_t count) {
  float lanes[16];
  Store(lanes, a);
  for (int64_t i = 0; i < count; ++i) p[i] = lanes[i];
}
inline __m256 WidenBf16(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline F32x16 LoadBf16(const uint16_t* p) {
  return {WidenBf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          WidenBf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
inline F32x16 LoadBf16Partial(const uint16_t* p, int64_t count) {
  uint16_t lanes[16] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return LoadBf16(lanes);
}
// Nearest even, NaN quiet: the upper halves.
inline __m256i RoundedBits(__m256 a) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(rounded, quiet, nan);
}
inline __m128i NarrowBf16(__m256 a) {
  const __m256i upper = _mm256_srli_epi32(RoundedBits(a), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1));
}
inline void StoreBf16(uint16_t* p, F32x16 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), NarrowBf16(a.lo));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), NarrowBf16(a.hi));
}
inline void StoreBf16Partial(uint16_t* p, F32x16 a, int64_t count) {
  uint16_t lanes[16];
  StoreBf16(lanes, a);
  for (int64_t i = 0; i < count; ++i) p[i] = lanes[i];
}
inline F32x16 RoundBf16(F32x16 a) {
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_and_si256(RoundedBits(a.lo), upper)),
          _mm256_castsi256_ps(_mm256_and_si256(RoundedBits(a.hi), upper))};
}
// Panels of weights: columns c and c + 8 stand together, two steps of k of FP8 too.
inline constexpr bool kPanelInterleaved = true;
inline constexpr int kPanelFp8Steps = 2;
// A code's exponent and mantissa, shifted into place, are a float32 of 2^-120 times its value;
// subnormals fall in place as well. x is multiplied by 2^40 so that products stay far from the ends
// of the range: |x| < 2^88, and what is lost below 2^-60 is nothing.
inline constexpr float kPanelFp8Factor = 0x1p40f;
inline constexpr float kPanelFp8Unit = 0x1p80f;
inline F32x16 TakeApart(__m256i pairs) {
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)),
          _mm256_castsi256_ps(_mm256_and_si256(pairs, upper))};
}
// Sixteen bfloat16 in an order that is cheaper to widen: even elements, then odd ones. Split makes
// that order of the usual one, Join undoes it.
inline F32x16 LoadSplitBf16(const uint16_t* p) {
  return TakeApart(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F32x16 Split(F32x16 a) {
  const __m256 even = _mm256_shuffle_ps(a.lo, a.hi, 0x88);
  const __m256 odd = _mm256_shuffle_ps(a.lo, a.hi, 0xdd);
  const auto in_order = [](__m256 v) {
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8));
  };
  return {in_order(even), in_order(odd)};
}
inline F32x16 Join(F32x16 a) {
  const __m256 low = _mm256_unpacklo_ps(a.lo, a.hi);
  const __m256 high = _mm256_unpackhi_ps(a.lo, a.hi);
  return {_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31)};
}
// Eight rows of eight to out[lane * 16 + row].
inline void StoreTransposed8(const __m256* rows, float* out) {
  __m256 pairs[8];
  for (int i = 0; i < 4; ++i) {
    pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
    pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
  }
  __m256 fours[8];
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      const __m256 a = pairs[4 * i + j];
      const __m256 b = pairs[4 * i + 2 + j];
      fours[4 * i + 2 * j] = _mm256_shuffle_ps(a, b, 0x44);
      fours[4 * i + 2 * j + 1] = _mm256_shuffle_ps(a, b, 0xee);
    }
  }
  for (int lane = 0; lane < 4; ++lane) {
    const __m256 low = _mm256_permute2f128_ps(fours[lane], fours[4 + lane], 0x20);
    const __m256 high = _mm256_permute2f128_ps(fours[lane], fours[4 + lane], 0x31);
    _mm256_storeu_ps(out + lane * 16, low);
    _mm256_storeu_ps(out + (lane + 4) * 16, high);
  }
}
// out[lane * 16 + row] = lane of rows[row], for sixteen rows.
inline void StoreTransposed(const F32x16* rows, float* out) {
  for (int half = 0; half < 2; ++half) {
    __m256 low[8];
    __m256 high[8];
    for (int i = 0; i < 8; ++i) {
      low[i] = rows[half * 8 + i].lo;
      high[i] = rows[half * 8 + i].hi;
    }
    StoreTransposed8(low, out + half * 8);
    StoreTransposed8(high, out + 8 * 16 + half * 8);
  }
}
inline F32x16 LoadPanelBf16(const uint16_t* p) {
  return TakeApart(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
// Calls use(0, vector) and use(1, vector) for the two steps of k at p.
template <typename Use>
inline void StepPanelFp8(const uint8_t* p, Use use) {
  const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m256i kept = _mm256_set1_epi16(static_cast<int16_t>(0x87f0));
  const __m256i first = _mm256_and_si256(_mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 4), kept);
  use(0, TakeApart(first));
  use(1, TakeApart(_mm256_and_si256(_mm256_srai_epi16(codes, 4), kept)));
}

// Vectors of bytes, for compact panels: see simd_avx512.h.
inline constexpr int64_t kVectorBytes = 32;
struct Bytes {
  __m256i v;
};
struct TwoVectors {
  Bytes first, second;
};
inline Bytes LoadBytes(const uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
inline void StoreBytes(uint8_t* p, Bytes a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v);
}
inline Bytes RepeatSixteen(const uint8_t* p) {
  return {_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
inline Bytes LowerHalves(Bytes a) { return {_mm256_and_si256(a.v, _mm256_set1_epi8(0x0f))}; }
inline Bytes UpperHalves(Bytes a) { return LowerHalves({_mm256_srli_epi16(a.v, 4)}); }
inline Bytes LookUp(Bytes table, Bytes codes) { return {_mm256_shuffle_epi8(table.v, codes.v)}; }
inline Bytes SetByte(Bytes a, uint32_t index, uint8_t value) {
  alignas(32) uint8_t bytes[kVectorBytes];
  StoreBytes(bytes, a);
  bytes[index] = value;
  return LoadBytes(bytes);
}
inline TwoVectors Interleave(Bytes a, Bytes b) {
  return {{_mm256_unpacklo_epi8(a.v, b.v)}, {_mm256_unpackhi_epi8(a.v, b.v)}};
}
template <int kStep>
inline F32x16 WidenStep(Bytes a) {
  static_assert(kStep == 0);
  return TakeApart(a.v);
}

inline F32x16 operator+(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
inline F32x16 operator-(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
inline F32x16 operator*(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
inline F32x16 operator/(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
inline F32x16 Max(F32x16 a, F32x16 b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
inline F32x16 ExactFma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
inline F32x16 MultiplyAdd(F32x16 a, F32x16 b, F32x16 c) { return ExactFma(a, b, c); }

inline uint32_t LessMask(F32x16 a, F32x16 b) {
  const int lo = _mm256_movemask_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ));
  const int hi = _mm256_movemask_ps(_mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ));
  return static_cast<uint32_t>(lo | hi << 8);
}
inline F32x16 SelectLess(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
          _mm256_blendv_ps(no.hi, yes.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}

inline float ReduceAdd(F32x16 a) {
  const __m256 eight = _mm256_add_ps(a.lo, a.hi);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
inline float ReduceMax(F32x16 a) {
  const __m256 eight = _mm256_max_ps(a.lo, a.hi);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
// Lane j of the result is the sum of the lanes of rows[j].
inline F32x16 ReduceAddRows(const F32x16* rows) {
  float sums[16];
  for (int j = 0; j < 16; ++j) sums[j] = ReduceAdd(rows[j]);
  return Load(sums);
}

inline U32x16 SetU(uint32_t value) {
  return {_mm256_set1_epi32(static_cast<int>(value)), _mm256_set1_epi32(static_cast<int>(value))};
}
inline U32x16 LoadU(const uint32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
inline void StoreU(uint32_t* p, U32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.lo);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), a.hi);
}
inline U32x16 operator+(U32x16 a, U32x16 b) {
  return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
inline U32x16 operator-(U32x16 a, U32x16 b) {
  return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}
inline U32x16 operator^(U32x16 a, U32x16 b) {
  return {_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)};
}
template <int kCount>
inline U32x16 ShiftLeft(U32x16 a) {
  return {_mm256_slli_epi32(a.lo, kCount), _mm256_slli_epi32(a.hi, kCount)};
}
template <int kCount>
inline U32x16 ShiftRight(U32x16 a) {
  return {_mm256_srli_epi32(a.lo, kCount), _mm256_srli_epi32(a.hi, kCount)};
}
template <int kCount>
inline U32x16 ShiftRightSigned(U32x16 a) {
  return {_mm256_srai_epi32(a.lo, kCount), _mm256_srai_epi32(a.hi, kCount)};
}
inline F32x16 SignedToFloat(U32x16 a) {
  return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}
inline U32x16 Bits(F32x16 a) { return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
inline F32x16 FromBits(U32x16 a) { return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
inline void MultiplyWideHalf(__m256i a, __m256i factor, __m256i* high, __m256i* low) {
  const __m256i even = _mm256_mul_epu32(a, factor);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), factor);
  *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
  *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}
// Upper and lower halves of the 64-bit products.
inline void MultiplyWide(U32x16 a, uint32_t factor, U32x16* high, U32x16* low) {
  const __m256i f = _mm256_set1_epi32(static_cast<int>(factor));
  MultiplyWideHalf(a.lo, f, &high->lo, &low->lo);
  MultiplyWideHalf(a.hi, f, &high->hi, &low->hi);
}
// Sum of the lanes truncated to integers; lanes are in [0, 2^41).
inline uint64_t SumTruncated(F32x16 a) {
  float lanes[16];
  Store(lanes, a);
  uint64_t sum = 0;
  for (float lane : lanes) sum += static_cast<uint64_t>(static_cast<int64_t>(lane));
  return sum;
}

}  // namespace
}  // namespace baton::kernels::cpu
#endif
