#include "kernels/cpu/cpu_variant.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/api/reproducible_math.h"

namespace baton::kernels {
namespace {

TEST(CpuVariants, AlwaysHavePortableFirst) {
  ASSERT_FALSE(AvailableCpuVariants().empty());
  EXPECT_EQ(AvailableCpuVariants().front(), CpuVariant::kPortable);
}

#if defined(__x86_64__) && defined(__linux__)
// A build that lost the flags of a variant would be green without it. AMX is left out: it needs
// the system's leave too.
TEST(CpuVariants, AreAllThatTheProcessorHas) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && line.rfind("flags", 0) != 0) continue;
  std::istringstream words(line);
  const std::set<std::string> flags{std::istream_iterator<std::string>(words), {}};
  ASSERT_TRUE(flags.contains("fpu"));
  const auto has = [&](const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      if (!flags.contains(name)) return false;
    }
    return true;
  };
  const bool avx2 = has({"avx2", "fma"});
  const bool avx512 = avx2 && has({"avx512f", "avx512bw", "avx512dq", "avx512vl"});
  EXPECT_EQ(FindCpuKernels(CpuVariant::kAvx2).ok(), avx2);
  EXPECT_EQ(FindCpuKernels(CpuVariant::kAvx512).ok(), avx512);
  EXPECT_EQ(FindCpuKernels(CpuVariant::kAvx512Bf16).ok(),
            avx512 && has({"avx512_bf16", "avx512vbmi"}));
}
#endif

TEST(CpuVariants, AreFoundByTheirNames) {
  for (CpuVariant variant : AvailableCpuVariants()) {
    EXPECT_EQ(ParseCpuVariant(Name(variant)).value(), variant);
    EXPECT_EQ(FindCpuKernels(variant).value()->name, Name(variant));
  }
  const absl::Status unknown = ParseCpuVariant("avx1024").status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(unknown.message().find("avx512_bf16"), absl::string_view::npos);
}

// Draws and expert choice rest on this: every variant has the bits of reproducible_math.h.
TEST(CpuVariants, SigmoidHasTheBitsOfTheDefinition) {
  std::vector<float> values;
  for (float x = -95.0f; x < 95.0f; x += 0.0137f) values.push_back(x);
  std::vector<float> out(values.size());
  for (CpuVariant variant : AvailableCpuVariants()) {
    (*FindCpuKernels(variant))->sigmoid(values.data(), values.size(), out.data());
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(out[i], Sigmoid(values[i])) << Name(variant) << " at " << values[i];
    }
  }
}

TEST(CpuVariants, MassesHaveTheBitsOfTheDefinition) {
  std::vector<float> values = {-std::numeric_limits<float>::infinity()};
  for (float x = 0.0f; x > -90.0f; x -= 0.0073f) values.push_back(x);
  std::vector<float> out(values.size());
  uint64_t total = 0;
  for (float value : values) total += SoftmaxMass(value);
  for (CpuVariant variant : AvailableCpuVariants()) {
    const cpu::VariantKernels& kernels = **FindCpuKernels(variant);
    kernels.masses(values.data(), values.size(), out.data());
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(static_cast<uint64_t>(out[i]), SoftmaxMass(values[i])) << Name(variant);
    }
    EXPECT_EQ(kernels.mass(values.data(), values.size(), 0.0f), total) << Name(variant);
  }
}

TEST(CpuVariants, DrawsUseTheNoiseOfTheDefinition) {
  constexpr int64_t kSize = 203;
  for (CpuVariant variant : AvailableCpuVariants()) {
    const cpu::VariantKernels& kernels = **FindCpuKernels(variant);
    for (uint32_t position = 0; position < 300; ++position) {
      const std::vector<float> values(kSize, 0.25f);
      float best = -std::numeric_limits<float>::infinity();
      uint32_t expected = 0;
      for (uint32_t id = 0; id < kSize; ++id) {
        const float score = 0.25f + GumbelNoise(77, position, id);
        if (score > best) {
          best = score;
          expected = id;
        }
      }
      const cpu::DrawResult drawn = kernels.draw(values.data(), kSize, 77, position);
      ASSERT_EQ(drawn.index, expected) << Name(variant);
      ASSERT_EQ(drawn.score, best) << Name(variant);
    }
  }
}

TEST(CpuVariants, FindAboveNamesTheFirstLargerElement) {
  std::vector<float> values(100, 1.0f);
  values[37] = 2.0f;
  values[99] = 3.0f;
  for (CpuVariant variant : AvailableCpuVariants()) {
    const cpu::VariantKernels& kernels = **FindCpuKernels(variant);
    EXPECT_EQ(kernels.find_above(values.data(), 0, 100, 1.0f), 37);
    EXPECT_EQ(kernels.find_above(values.data(), 38, 100, 1.0f), 99);
    EXPECT_EQ(kernels.find_above(values.data(), 0, 100, 3.0f), 100);
    EXPECT_EQ(kernels.find_above(values.data(), 100, 100, 0.0f), 100);
  }
}

}  // namespace
}  // namespace baton::kernels
