// Attention scores in bfloat16 through vdpbf16ps.
#pragma once

#include "kernels/cpu/variants/attend_kernels.h"
#include "kernels/cpu/variants/product_pairs.h"

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)
namespace baton::kernels::cpu {
namespace {

struct PairScores {
  static F32x16 Of(const uint16_t* q, const uint16_t* keys, int64_t stride, int64_t width) {
    F32x16 sums[kScoreRows];
    for (F32x16& sum : sums) sum = Zero();
    int64_t i = 0;
    for (; i + 32 <= width; i += 32) {
      const __m512i query = _mm512_loadu_si512(q + i);
#pragma GCC unroll 16
      for (int j = 0; j < kScoreRows; ++j) {
        sums[j].v = DotPairs(sums[j].v, query, _mm512_loadu_si512(keys + j * stride + i));
      }
    }
    if (i < width) {
      const __mmask32 mask = (1u << (width - i)) - 1u;
      const __m512i query = _mm512_maskz_loadu_epi16(mask, q + i);
#pragma GCC unroll 16
      for (int j = 0; j < kScoreRows; ++j) {
        const __m512i key = _mm512_maskz_loadu_epi16(mask, keys + j * stride + i);
        sums[j].v = DotPairs(sums[j].v, query, key);
      }
    }
    return ReduceAddRows(sums);
  }
};

void AttendPairs(const AttendArgs& args) {
  args.bfloat16 ? AttendGroup<BFloat16Row, PairScores>(args)
                : AttendGroup<Float32Row, WidenedScores<Float32Row>>(args);
}

}  // namespace
}  // namespace baton::kernels::cpu
#endif
