#include "kernels/cpu/turn_rows.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace baton::kernels::cpu {

#if defined(__SSE2__)
namespace {

__m128i Load(const std::byte* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
void Store(std::byte* p, __m128i value) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), value); }

// Four vectors of four 32-bit units, rows to columns; column u goes to to + u * stride.
void StoreTurned32(__m128i r0, __m128i r1, __m128i r2, __m128i r3, std::byte* to, int64_t stride) {
  const __m128i low01 = _mm_unpacklo_epi32(r0, r1);
  const __m128i low23 = _mm_unpacklo_epi32(r2, r3);
  const __m128i high01 = _mm_unpackhi_epi32(r0, r1);
  const __m128i high23 = _mm_unpackhi_epi32(r2, r3);
  Store(to, _mm_unpacklo_epi64(low01, low23));
  Store(to + stride, _mm_unpackhi_epi64(low01, low23));
  Store(to + 2 * stride, _mm_unpacklo_epi64(high01, high23));
  Store(to + 3 * stride, _mm_unpackhi_epi64(high01, high23));
}

// kPairsBFloat16: [pair][16 columns], a pair in 32 bits.
void TurnPairs(const std::byte* const* rows, int64_t at, std::byte* to) {
  for (int group = 0; group < 16; group += 4) {
    const std::byte* const* r = rows + group;
    StoreTurned32(Load(r[0] + at), Load(r[1] + at), Load(r[2] + at), Load(r[3] + at),
                  to + int64_t{group} * 4, 64);
  }
}

// kPairsFloat8: [step of four][4 lanes][2 pairs][4 columns], a pair in 16 bits.
void TurnFloat8Pairs(const std::byte* const* rows, int64_t at, std::byte* to) {
  for (int lane = 0; lane < 4; ++lane) {
    const std::byte* const* r = rows + int64_t{lane} * 4;
    const __m128i r0 = Load(r[0] + at);
    const __m128i r1 = Load(r[1] + at);
    const __m128i r2 = Load(r[2] + at);
    const __m128i r3 = Load(r[3] + at);
    const __m128i low01 = _mm_unpacklo_epi16(r0, r1);
    const __m128i low23 = _mm_unpacklo_epi16(r2, r3);
    const __m128i high01 = _mm_unpackhi_epi16(r0, r1);
    const __m128i high23 = _mm_unpackhi_epi16(r2, r3);
    std::byte* lanes = to + int64_t{lane} * 16;
    Store(lanes, _mm_unpacklo_epi32(low01, low23));
    Store(lanes + 64, _mm_unpackhi_epi32(low01, low23));
    Store(lanes + 128, _mm_unpacklo_epi32(high01, high23));
    Store(lanes + 192, _mm_unpackhi_epi32(high01, high23));
  }
}

// Interleaved columns: [unit][8 columns][2], where a unit is 16 bits: one bfloat16, or two FP8.
void TurnInterleaved(const std::byte* const* rows, int64_t at, std::byte* to) {
  for (int group = 0; group < 8; group += 4) {
    __m128i low[4];
    __m128i high[4];
    for (int c = 0; c < 4; ++c) {
      const __m128i near = Load(rows[group + c] + at);
      const __m128i far = Load(rows[group + c + 8] + at);
      low[c] = _mm_unpacklo_epi16(near, far);
      high[c] = _mm_unpackhi_epi16(near, far);
    }
    std::byte* columns = to + int64_t{group} * 4;
    StoreTurned32(low[0], low[1], low[2], low[3], columns, 32);
    StoreTurned32(high[0], high[1], high[2], high[3], columns + 128, 32);
  }
}

using Turn = void (*)(const std::byte* const* rows, int64_t at, std::byte* to);

Turn TurnOf(PanelLayout layout, bool interleaved) {
  switch (layout) {
    case PanelLayout::kPairsBFloat16:
      return TurnPairs;
    case PanelLayout::kPairsFloat8:
      return TurnFloat8Pairs;
    case PanelLayout::kColumnsBFloat16:
    case PanelLayout::kColumnsFloat8:
      return interleaved ? TurnInterleaved : nullptr;
    case PanelLayout::kColumnsFloat32:
    case PanelLayout::kColumnsCompact:
    case PanelLayout::kPairsCompact:
      break;
  }
  return nullptr;
}

}  // namespace

int64_t TurnRows(PanelLayout layout, bool interleaved, const std::byte* const* rows, int64_t bytes,
                 std::byte* to) {
  const Turn turn = TurnOf(layout, interleaved);
  if (turn == nullptr) return 0;
  int64_t at = 0;
  for (; at + kTurnedBytes <= bytes; at += kTurnedBytes) turn(rows, at, to + at * 16);
  return at;
}
#else
int64_t TurnRows(PanelLayout, bool, const std::byte* const*, int64_t, std::byte*) { return 0; }
#endif

}  // namespace baton::kernels::cpu
