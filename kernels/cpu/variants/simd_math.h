// The functions of kernels/api/reproducible_math.h on sixteen lanes, step by step the same.
#pragma once

#include "kernels/api/reproducible_math.h"
#include "kernels/cpu/variants/simd.h"

namespace baton::kernels::cpu {
namespace {

inline F32x16 ExpOf(F32x16 x) {
  const F32x16 shift = Set(math::kRoundingShift);
  const F32x16 shifted = ExactFma(x, Set(math::kLog2E), shift);
  const F32x16 n = shifted - shift;
  F32x16 r = ExactFma(n, Set(-math::kLn2High), x);
  r = ExactFma(n, Set(-math::kLn2Low), r);
  F32x16 p = Set(math::kExpCoefficients[0]);
  for (int i = 1; i < math::kNumExpCoefficients; ++i) {
    p = ExactFma(p, r, Set(math::kExpCoefficients[i]));
  }
  p = ExactFma(p, r * r, r) + Set(1.0f);
  const U32x16 exponent = Bits(shifted) - SetU(math::kRoundingShiftBits) + SetU(127u);
  const F32x16 y = p * FromBits(ShiftLeft<23>(exponent));
  return SelectLess(x, Set(math::kExpCutoff), Zero(), y);
}

inline F32x16 SigmoidOf(F32x16 x) {
  const F32x16 e = ExpOf(SelectLess(x, Zero(), x, Zero() - x));
  return SelectLess(x, Zero(), e, Set(1.0f)) / (Set(1.0f) + e);
}

inline F32x16 LogOfPartsOf(F32x16 f, F32x16 exponent) {
  const F32x16 z = f * f;
  F32x16 p = Set(math::kLogCoefficients[0]);
  for (int i = 1; i < math::kNumLogCoefficients; ++i) {
    p = ExactFma(p, f, Set(math::kLogCoefficients[i]));
  }
  F32x16 y = p * (f * z);
  y = ExactFma(exponent, Set(math::kLn2Low), y);
  y = ExactFma(Set(-0.5f), z, y);
  return ExactFma(exponent, Set(math::kLn2High), f + y);
}

inline F32x16 LogOf(F32x16 x) {
  const U32x16 bits = Bits(x);
  const U32x16 exponent = ShiftRightSigned<23>(bits - SetU(math::kSqrtHalfBits));
  const F32x16 mantissa = FromBits(bits - ShiftLeft<23>(exponent));
  return LogOfPartsOf(mantissa - Set(1.0f), SignedToFloat(exponent));
}

inline F32x16 GumbelOf(U32x16 random) {
  const U32x16 half = ShiftRight<1>(random);
  const F32x16 unit = Set(math::kTwoToMinus31);
  const F32x16 complement = (SignedToFloat(half) + Set(0.5f)) * unit;
  const F32x16 near_one = LogOfPartsOf(Zero() - complement, Zero());
  const F32x16 u = (SignedToFloat(SetU(0x7fffffffu) - half) + Set(0.5f)) * unit;
  const F32x16 log_u = SelectLess(complement, Set(math::kNearOne), near_one, LogOf(u));
  return Zero() - LogOf(Zero() - log_u);
}

// Words 0 to 3 of Philox for sixteen values of counter word 0.
inline void PhiloxOf(U32x16 counter0, uint32_t counter1, uint64_t seed, U32x16* words) {
  words[0] = counter0;
  words[1] = SetU(counter1);
  words[2] = words[3] = SetU(0);
  uint32_t key0 = static_cast<uint32_t>(seed);
  uint32_t key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < math::kPhiloxRounds; ++round) {
    U32x16 high0;
    U32x16 low0;
    U32x16 high1;
    U32x16 low1;
    MultiplyWide(words[0], math::kPhiloxMultiplier0, &high0, &low0);
    MultiplyWide(words[2], math::kPhiloxMultiplier1, &high1, &low1);
    words[0] = high1 ^ words[1] ^ SetU(key0);
    words[1] = low1;
    words[2] = high0 ^ words[3] ^ SetU(key1);
    words[3] = low0;
    key0 += math::kPhiloxWeyl0;
    key1 += math::kPhiloxWeyl1;
  }
}

}  // namespace
}  // namespace baton::kernels::cpu
