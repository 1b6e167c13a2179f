#include "common/checksum/crc32c_folding.h"

#include "common/log/check.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace baton::checksum_internal {

#if defined(__x86_64__)

namespace {

// Bits are reflected: the lowest bit of the first byte is the highest power of x. So is this: bit
// 31 - i stands for x^i.
constexpr uint32_t kReflectedPolynomial = 0x82F63B78u;

// x^power modulo the polynomial.
constexpr uint32_t PowerOfX(int power) {
  uint32_t value = 1u << 31;
  for (int i = 0; i < power; ++i) {
    value = (value >> 1) ^ ((value & 1) != 0 ? kReflectedPolynomial : 0);
  }
  return value;
}

// What 16 bytes are multiplied with to stand for the same remainder `bits` bits further on: their
// first 8 bytes by x^(bits + 64), their last 8 by x^bits. A product of reflected values is x too
// high, and a factor of 32 bits in a register of 64 is x^32 too high, of which the shift takes one.
struct Factors {
  int64_t first;
  int64_t last;
};
constexpr Factors FactorsOver(int bits) {
  return {static_cast<int64_t>(uint64_t{PowerOfX(bits + 32)} << 1),
          static_cast<int64_t>(uint64_t{PowerOfX(bits - 32)} << 1)};
}

#define BATON_FOLDING __attribute__((target("avx512f,vpclmulqdq,pclmul,sse4.2")))

BATON_FOLDING inline __m512i Broadcast(const Factors& factors) {
  return _mm512_set_epi64(factors.last, factors.first, factors.last, factors.first, factors.last,
                          factors.first, factors.last, factors.first);
}

// `value` moved on by the factors' distance, plus `next`.
BATON_FOLDING inline __m512i Fold(__m512i value, __m512i factors, __m512i next) {
  const __m512i first = _mm512_clmulepi64_epi128(value, factors, 0x00);
  const __m512i last = _mm512_clmulepi64_epi128(value, factors, 0x11);
  return _mm512_ternarylogic_epi64(first, last, next, 0x96);  // a ^ b ^ c
}

BATON_FOLDING inline __m128i Fold(__m128i value, const Factors& factors, __m128i next) {
  const __m128i both = _mm_set_epi64x(factors.last, factors.first);
  const __m128i first = _mm_clmulepi64_si128(value, both, 0x00);
  const __m128i last = _mm_clmulepi64_si128(value, both, 0x11);
  return _mm_xor_si128(_mm_xor_si128(first, last), next);
}

BATON_FOLDING inline __m512i Load(const std::byte* bytes) { return _mm512_loadu_si512(bytes); }

// The 64 bytes' remainder: 4 lanes become one, and its 16 bytes are summed.
BATON_FOLDING inline uint32_t Reduce(__m512i value) {
  __m128i lanes[4];
  _mm512_storeu_si512(lanes, value);
  static constexpr Factors kOver1 = FactorsOver(128);
  static constexpr Factors kOver2 = FactorsOver(256);
  static constexpr Factors kOver3 = FactorsOver(384);
  __m128i sum = Fold(lanes[2], kOver1, lanes[3]);
  sum = Fold(lanes[1], kOver2, sum);
  sum = Fold(lanes[0], kOver3, sum);
  const uint64_t first = _mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(sum)));
  return static_cast<uint32_t>(
      _mm_crc32_u64(first, static_cast<uint64_t>(_mm_extract_epi64(sum, 1))));
}

}  // namespace

bool HasCrc32cFolding() {
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("vpclmulqdq") != 0 &&
         __builtin_cpu_supports("pclmul") != 0 && __builtin_cpu_supports("sse4.2") != 0;
}

BATON_FOLDING uint32_t ExtendCrc32cFolded(uint32_t crc, std::span<const std::byte> bytes) {
  static constexpr Factors kOver256Bytes = FactorsOver(256 * 8);
  static constexpr Factors kOver64Bytes = FactorsOver(64 * 8);
  const std::byte* next = bytes.data();
  size_t left = bytes.size();
  BATON_CHECK(left >= kLeastFoldedBytes);
  __m512i a = Load(next);
  __m512i b = Load(next + 64);
  __m512i c = Load(next + 128);
  __m512i d = Load(next + 192);
  // A checksum so far acts on the first 4 bytes.
  a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(~crc))));
  const __m512i over_256 = Broadcast(kOver256Bytes);
  for (next += 256, left -= 256; left >= 256; next += 256, left -= 256) {
    a = Fold(a, over_256, Load(next));
    b = Fold(b, over_256, Load(next + 64));
    c = Fold(c, over_256, Load(next + 128));
    d = Fold(d, over_256, Load(next + 192));
  }
  const __m512i over_64 = Broadcast(kOver64Bytes);
  d = Fold(Fold(Fold(a, over_64, b), over_64, c), over_64, d);
  for (; left >= 64; next += 64, left -= 64) d = Fold(d, over_64, Load(next));
  uint32_t sum = Reduce(d);
  for (; left > 0; ++next, --left) sum = _mm_crc32_u8(sum, static_cast<uint8_t>(*next));
  return ~sum;
}

#undef BATON_FOLDING

#else

bool HasCrc32cFolding() { return false; }
uint32_t ExtendCrc32cFolded(uint32_t, std::span<const std::byte>) {
  BATON_CHECK(false) << "this processor has no such instructions";
  return 0;
}

#endif

}  // namespace baton::checksum_internal
