#include "tests/bench/machine_rates.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace baton::bench {
namespace {

constexpr int64_t kReadBytes = int64_t{1} << 30;
constexpr int kReadRepeats = 5;
constexpr int64_t kFmaRounds = 20'000'000;
constexpr int kFmaChains = 12;

double SecondsOf(int num_threads, const std::function<void(int thread)>& work) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> others;
  for (int thread = 1; thread < num_threads; ++thread) others.emplace_back(work, thread);
  work(0);
  for (std::thread& other : others) other.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Keeps a result alive.
void Use(double value) {
  volatile double sink = value;
  (void)sink;
}

#if defined(__x86_64__)
using F32x8 = float __attribute__((vector_size(32)));
using F32x16 = float __attribute__((vector_size(64)));

// Chains begin differently: of equal ones the compiler would keep one.
template <typename Vector>
__attribute__((always_inline)) inline float MultiplyAddChains() {
  Vector sums[kFmaChains] = {};
  for (int i = 0; i < kFmaChains; ++i) sums[i] += static_cast<float>(i);
  Vector factor = {};
  factor += 0.999f;
  for (int64_t round = 0; round < kFmaRounds; ++round) {
#pragma GCC unroll 12
    for (Vector& sum : sums) sum = sum * factor + factor;
    asm volatile("" : "+x"(factor));
  }
  float total = 0;
  for (const Vector& sum : sums) total += sum[0];
  return total;
}

__attribute__((target("avx2,fma"))) float MultiplyAddAvx2() { return MultiplyAddChains<F32x8>(); }
__attribute__((target("avx512f"))) float MultiplyAddAvx512() { return MultiplyAddChains<F32x16>(); }

// Two multiply-adds per lane.
__attribute__((target("avx512f,avx512bf16"))) float DotAvx512() {
  F32x16 sums[kFmaChains] = {};
  for (int i = 0; i < kFmaChains; ++i) sums[i] += static_cast<float>(i);
  __m512i factor = _mm512_set1_epi32(0x3f003f00);  // pairs of 0.5
  for (int64_t round = 0; round < kFmaRounds; ++round) {
#pragma GCC unroll 12
    for (F32x16& sum : sums) {
      sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(factor),
                             reinterpret_cast<__m512bh>(factor));
    }
    asm volatile("" : "+v"(factor));
  }
  float total = 0;
  for (const F32x16& sum : sums) total += sum[0];
  return total;
}

double DotGflops(int num_threads) {
  if (!__builtin_cpu_supports("avx512bf16")) return 0;
  const double seconds = SecondsOf(num_threads, [](int) { Use(static_cast<double>(DotAvx512())); });
  return 4e-9 * 16 * kFmaChains * static_cast<double>(kFmaRounds) * num_threads / seconds;
}

double FmaGflops(int num_threads) {
  const bool wide = __builtin_cpu_supports("avx512f");
  if (!wide && !__builtin_cpu_supports("fma")) return 0;
  const double seconds = SecondsOf(num_threads, [wide](int) {
    Use(static_cast<double>(wide ? MultiplyAddAvx512() : MultiplyAddAvx2()));
  });
  const double lanes = wide ? 16 : 8;
  return 2e-9 * lanes * kFmaChains * static_cast<double>(kFmaRounds) * num_threads / seconds;
}
#else
double FmaGflops(int) { return 0; }
double DotGflops(int) { return 0; }
#endif

double ReadGbPerS(int num_threads) {
  std::vector<uint64_t> memory(kReadBytes / sizeof(uint64_t), 1);
  const int64_t share = static_cast<int64_t>(memory.size()) / num_threads / 64 * 64;
  double best = 1e9;
  for (int repeat = 0; repeat < kReadRepeats; ++repeat) {
    best = std::min(best, SecondsOf(num_threads, [&](int thread) {
                      const uint64_t* from = memory.data() + thread * share;
                      uint64_t sums[8] = {};
                      for (int64_t i = 0; i < share; i += 8) {
                        __builtin_prefetch(from + i + 256);
                        for (int lane = 0; lane < 8; ++lane) sums[lane] += from[i + lane];
                      }
                      uint64_t sum = 0;
                      for (const uint64_t value : sums) sum += value;
                      Use(static_cast<double>(sum));
                    }));
  }
  return static_cast<double>(share) * 8 * num_threads / best * 1e-9;
}

}  // namespace

MachineRates MeasureMachine(int num_threads) {
  return {ReadGbPerS(num_threads), FmaGflops(num_threads), DotGflops(num_threads)};
}

}  // namespace baton::bench
