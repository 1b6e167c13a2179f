// Sixteen lanes on AVX-512 F, BW, DQ, VL. See simd.h.
#pragma once

#include <cstdint>
#include <immintrin.h>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
namespace baton::kernels::cpu {
namespace {

struct F32x16 {
  __m512 v;
};
struct U32x16 {
  __m512i v;
};

inline __mmask16 FirstLanes(int64_t count) { return static_cast<__mmask16>((1u << count) - 1u); }

inline F32x16 Zero() { return {_mm512_setzero_ps()}; }
inline F32x16 Set(float value) { return {_mm512_set1_ps(value)}; }
inline F32x16 Load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline F32x16 LoadPartial(const float* p, int64_t count) {
  return {_mm512_maskz_loadu_ps(FirstLanes(count), p)};
}
inline void Store(float* p, F32x16 a) { _mm512_storeu_ps(p, a.v); }
inline void StorePartial(float* p, F32x16 a, int64_t count) {
  _mm512_mask_storeu_ps(p, FirstLanes(count), a.v);
}
inline F32x16 WidenBf16(__m256i bits) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
inline F32x16 LoadBf16(const uint16_t* p) {
  return WidenBf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F32x16 LoadBf16Partial(const uint16_t* p, int64_t count) {
  return WidenBf16(_mm256_maskz_loadu_epi16(FirstLanes(count), p));
}
// Nearest even, NaN quiet: the upper halves.
inline __m512i RoundedBits(F32x16 a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
}
inline __m256i NarrowBf16(F32x16 a) {
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(RoundedBits(a), 16));
}
inline void StoreBf16(uint16_t* p, F32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), NarrowBf16(a));
}
inline void StoreBf16Partial(uint16_t* p, F32x16 a, int64_t count) {
  _mm256_mask_storeu_epi16(p, FirstLanes(count), NarrowBf16(a));
}
inline F32x16 RoundBf16(F32x16 a) {
  return {_mm512_castsi512_ps(
      _mm512_and_si512(RoundedBits(a), _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
}
// FP8 codes to float32 x 2^-8: the bits shifted into binary16, whose subnormals fall in place.
inline F32x16 LoadFp8(const uint8_t* p) {
  const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i half =
      _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16(static_cast<int16_t>(0xbfff)));
  return {_mm512_cvtph_ps(half)};
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

// Vectors of bytes, for compact panels.
inline constexpr int64_t kVectorBytes = 64;
struct Bytes {
  __m512i v;
};
struct TwoVectors {
  Bytes first, second;
};
inline Bytes LoadBytes(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
inline void StoreBytes(uint8_t* p, Bytes a) { _mm512_storeu_si512(p, a.v); }
inline Bytes RepeatSixteen(const uint8_t* p) {
  return {_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
// Of each byte.
inline Bytes LowerHalves(Bytes a) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(0x0f))}; }
inline Bytes UpperHalves(Bytes a) { return LowerHalves({_mm512_srli_epi16(a.v, 4)}); }
// table[codes[i]], for a table from RepeatSixteen.
inline Bytes LookUp(Bytes table, Bytes codes) { return {_mm512_shuffle_epi8(table.v, codes.v)}; }
inline Bytes SetByte(Bytes a, uint32_t index, uint8_t value) {
  return {_mm512_mask_set1_epi8(a.v, uint64_t{1} << index, static_cast<char>(value))};
}
// Of each 128-bit lane: the lower eight bytes of a and b by turns, and the upper eight.
inline TwoVectors Interleave(Bytes a, Bytes b) {
  return {{_mm512_unpacklo_epi8(a.v, b.v)}, {_mm512_unpackhi_epi8(a.v, b.v)}};
}
// Step of k, of the kVectorBytes / 32 that stand in a vector of a panel.
template <int kStep>
inline F32x16 WidenStep(Bytes a) {
  return WidenBf16(_mm512_extracti64x4_epi64(a.v, kStep));
}

inline F32x16 operator+(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32x16 operator-(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32x16 operator*(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32x16 operator/(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F32x16 Max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F32x16 ExactFma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F32x16 MultiplyAdd(F32x16 a, F32x16 b, F32x16 c) { return ExactFma(a, b, c); }

inline uint32_t LessMask(F32x16 a, F32x16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
inline F32x16 SelectLess(F32x16 a, F32x16 b, F32x16 yes, F32x16 no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}

inline __m256 UpperHalf(__m512 a) { return _mm512_extractf32x8_ps(a, 1); }
inline float ReduceAdd(F32x16 a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), UpperHalf(a.v));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
inline float ReduceMax(F32x16 a) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), UpperHalf(a.v));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

// Lane j of the result is the sum of the lanes of rows[j]: a transposing tree.
inline F32x16 ReduceAddRows(const F32x16* rows) {
  __m512 pairs[8];
  for (int i = 0; i < 8; ++i) {
    const __m512 a = rows[2 * i].v;
    const __m512 b = rows[2 * i + 1].v;
    pairs[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  }
  // Each 128-bit lane of fours[i]: partial sums of rows 4i .. 4i + 3.
  __m512 fours[4];
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(pairs[2 * i]);
    const __m512d b = _mm512_castps_pd(pairs[2 * i + 1]);
    fours[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  __m512 eights[2];
  for (int i = 0; i < 2; ++i) {
    const __m512 a = fours[2 * i];
    const __m512 b = fours[2 * i + 1];
    eights[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }
  return {_mm512_add_ps(_mm512_shuffle_f32x4(eights[0], eights[1], 0x88),
                        _mm512_shuffle_f32x4(eights[0], eights[1], 0xdd))};
}

inline U32x16 SetU(uint32_t value) { return {_mm512_set1_epi32(static_cast<int>(value))}; }
inline U32x16 LoadU(const uint32_t* p) { return {_mm512_loadu_si512(p)}; }
inline void StoreU(uint32_t* p, U32x16 a) { _mm512_storeu_si512(p, a.v); }
inline U32x16 operator+(U32x16 a, U32x16 b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline U32x16 operator-(U32x16 a, U32x16 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline U32x16 operator^(U32x16 a, U32x16 b) { return {_mm512_xor_si512(a.v, b.v)}; }
template <int kCount>
inline U32x16 ShiftLeft(U32x16 a) {
  return {_mm512_slli_epi32(a.v, kCount)};
}
template <int kCount>
inline U32x16 ShiftRight(U32x16 a) {
  return {_mm512_srli_epi32(a.v, kCount)};
}
template <int kCount>
inline U32x16 ShiftRightSigned(U32x16 a) {
  return {_mm512_srai_epi32(a.v, kCount)};
}
inline F32x16 SignedToFloat(U32x16 a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline U32x16 Bits(F32x16 a) { return {_mm512_castps_si512(a.v)}; }
inline F32x16 FromBits(U32x16 a) { return {_mm512_castsi512_ps(a.v)}; }
// Upper and lower halves of the 64-bit products.
inline void MultiplyWide(U32x16 a, uint32_t factor, U32x16* high, U32x16* low) {
  const __m512i f = _mm512_set1_epi32(static_cast<int>(factor));
  const __m512i even = _mm512_mul_epu32(a.v, f);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), f);
  low->v = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
  high->v = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
}
// Sum of the lanes truncated to integers; lanes are in [0, 2^41).
inline uint64_t SumTruncated(F32x16 a) {
  const __m512i low = _mm512_cvttps_epi64(_mm512_castps512_ps256(a.v));
  const __m512i high = _mm512_cvttps_epi64(UpperHalf(a.v));
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(_mm512_add_epi64(low, high)));
}

}  // namespace
}  // namespace baton::kernels::cpu
#endif
