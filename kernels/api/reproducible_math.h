// The arithmetic of draws and of expert choice, step by step, so that every backend and variant
// gives the same bits: each step is one correctly rounded float32 operation (+, -, *, /, fused
// multiply-add) or an integer operation. A backend may vectorise these steps, not change them.
// Sources: Salmon et al. 2011 (Philox4x32-10); polynomial coefficients of exp and log as in
// Moshier's Cephes library (single precision).
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

// The same steps are compiled for a device that nvcc compiles for.
#ifdef __CUDACC__
#define BATON_HOST_DEVICE __host__ __device__
#else
#define BATON_HOST_DEVICE
#endif

namespace baton::kernels {

namespace math {

// exp(x) = 2^n exp(r), n = round(x log2 e), |r| <= ln 2 / 2; exp(r) = 1 + r + r^2 P(r).
inline constexpr float kExpCutoff = -86.0f;  // below: 0
inline constexpr float kLog2E = 1.44269504f;
inline constexpr float kRoundingShift = 12582912.0f;  // 1.5 x 2^23: adding it rounds to an integer
inline constexpr uint32_t kRoundingShiftBits = 0x4b400000u;
inline constexpr float kLn2High = 0.693359375f;  // 9 bits: n x kLn2High is exact
inline constexpr float kLn2Low = -2.12194440e-4f;
inline constexpr int kNumExpCoefficients = 6;
inline constexpr std::array<float, kNumExpCoefficients> kExpCoefficients = {
    1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
    4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
// log(1 + f) = f - f^2 / 2 + f^3 P(f) for 1 + f in [sqrt(1/2), sqrt(2)).
inline constexpr uint32_t kSqrtHalfBits = 0x3f3504f3u;
inline constexpr int kNumLogCoefficients = 9;
inline constexpr std::array<float, kNumLogCoefficients> kLogCoefficients = {
    7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,  -1.2420140846e-1f, 1.4249322787e-1f,
    -1.6668057665e-1f, 2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
// 1 - u below this takes the branch that keeps u near 1 exact.
inline constexpr float kNearOne = 0.29289323f;
inline constexpr float kTwoToMinus31 = 0x1p-31f;

inline constexpr uint32_t kPhiloxMultiplier0 = 0xd2511f53u;
inline constexpr uint32_t kPhiloxMultiplier1 = 0xcd9e8d57u;
inline constexpr uint32_t kPhiloxWeyl0 = 0x9e3779b9u;
inline constexpr uint32_t kPhiloxWeyl1 = 0xbb67ae85u;
inline constexpr int kPhiloxRounds = 10;
inline constexpr float kLargestLogit = 1e30f;   // penalised logits are clamped to +- this
inline constexpr float kLargestGumbel = 22.2f;  // above all values of GumbelFromBits

}  // namespace math

// e^x for x <= 0; 0 below kExpCutoff; NaN stays NaN. Error below 2 ulp.
BATON_HOST_DEVICE inline float ExpNonPositive(float x) {
  if (x < math::kExpCutoff) return 0.0f;
  const float shifted = std::fma(x, math::kLog2E, math::kRoundingShift);
  const float n = shifted - math::kRoundingShift;
  float r = std::fma(n, -math::kLn2High, x);
  r = std::fma(n, -math::kLn2Low, r);
  constexpr auto kCoefficients = math::kExpCoefficients;
  float p = kCoefficients[0];
  for (int i = 1; i < math::kNumExpCoefficients; ++i) {
    p = std::fma(p, r, kCoefficients[i]);
  }
  p = std::fma(p, r * r, r) + 1.0f;
  const uint32_t exponent = std::bit_cast<uint32_t>(shifted) - math::kRoundingShiftBits + 127u;
  return p * std::bit_cast<float>(exponent << 23);
}

// 1 / (1 + e^-x).
BATON_HOST_DEVICE inline float Sigmoid(float x) {
  const float e = ExpNonPositive(x < 0.0f ? x : -x);
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

// log(1 + f) + exponent x ln 2.
BATON_HOST_DEVICE inline float LogOfParts(float f, float exponent) {
  const float z = f * f;
  constexpr auto kCoefficients = math::kLogCoefficients;
  float p = kCoefficients[0];
  for (int i = 1; i < math::kNumLogCoefficients; ++i) {
    p = std::fma(p, f, kCoefficients[i]);
  }
  float y = p * (f * z);
  y = std::fma(exponent, math::kLn2Low, y);
  y = std::fma(-0.5f, z, y);
  return std::fma(exponent, math::kLn2High, f + y);
}

// Natural logarithm of a positive normal number. Error below 2 ulp.
BATON_HOST_DEVICE inline float LogPositive(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const int32_t exponent = static_cast<int32_t>(bits - math::kSqrtHalfBits) >> 23;
  const float mantissa = std::bit_cast<float>(bits - (static_cast<uint32_t>(exponent) << 23));
  return LogOfParts(mantissa - 1.0f, static_cast<float>(exponent));
}

// Philox4x32-10: four random words that depend on counter and key alone.
BATON_HOST_DEVICE inline std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter,
                                                        std::array<uint32_t, 2> key) {
  for (int round = 0; round < math::kPhiloxRounds; ++round) {
    const uint64_t product0 = uint64_t{math::kPhiloxMultiplier0} * counter[0];
    const uint64_t product1 = uint64_t{math::kPhiloxMultiplier1} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key = {key[0] + math::kPhiloxWeyl0, key[1] + math::kPhiloxWeyl1};
  }
  return counter;
}

// -log(-log(u)), u uniform in (0, 1) from the upper 31 bits of `bits`, fine-grained near 1, where
// large noise comes from. Range [-3.1, 22.2].
BATON_HOST_DEVICE inline float GumbelFromBits(uint32_t bits) {
  const int32_t half = static_cast<int32_t>(bits >> 1);
  const float complement = (static_cast<float>(half) + 0.5f) * math::kTwoToMinus31;  // 1 - u
  float exponential;
  if (complement < math::kNearOne) {
    exponential = -LogOfParts(-complement, 0.0f);
  } else {
    const float u = (static_cast<float>(0x7fffffff - half) + 0.5f) * math::kTwoToMinus31;
    exponential = -LogPositive(u);
  }
  return -LogPositive(exponential);
}

// The noise of one token at one position of the sequence with this seed: word token_id % 4 of
// Philox(counter {token_id / 4, position, 0, 0}, key {low, high half of seed}).
BATON_HOST_DEVICE inline float GumbelNoise(uint64_t seed, uint32_t position, uint32_t token_id) {
  const std::array<uint32_t, 4> words =
      Philox({token_id / 4, position, 0, 0},
             {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return GumbelFromBits(words[token_id % 4]);
}

// Probability masses are summed as integers, so that no order of summation matters: one is 2^40.
// The masses of a vocabulary of 2^23 tokens fit in 64 bits.
inline constexpr float kMassOne = 0x1p40f;

// Mass of a token whose logit is `difference` (<= 0) below the largest.
BATON_HOST_DEVICE inline uint64_t SoftmaxMass(float difference) {
  return static_cast<uint64_t>(ExpNonPositive(difference) * kMassOne);
}

}  // namespace baton::kernels
