#include <cmath>

#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

#include "common/model/model_config.h"
#include "tests/unit/common/model/test_configs.h"

namespace baton {
namespace {

struct Entry {
  int64_t position;
  int64_t pair;
  double cos;
  double sin;
};

// Expected values: the formula of the YaRN paper evaluated in double precision.
void ExpectEntries(const ModelConfig& config, const std::vector<Entry>& entries, double tolerance) {
  const std::vector<float> table = BuildRotaryTable(config, 4096);
  const int64_t width = config.qk_rope_head_dim;
  ASSERT_EQ(table.size(), static_cast<size_t>(4096 * width));
  for (const Entry& entry : entries) {
    const size_t at = static_cast<size_t>(entry.position * width + 2 * entry.pair);
    EXPECT_NEAR(table[at], entry.cos, tolerance) << entry.position << " " << entry.pair;
    EXPECT_NEAR(table[at + 1], entry.sin, tolerance) << entry.position << " " << entry.pair;
  }
}

// Far from position 0 the angle's own float rounding (half a unit of 4096 is 2.4e-4) shows.
constexpr double kFarTolerance = 3e-4;

TEST(RotaryTable, MatchesYarnForDeepSeekR1) {
  const ModelConfig config = ReadConfig("deepseek-r1");
  ExpectEntries(config,
                {{1, 0, 0.540302306, 0.841470985},
                 {1, 1, 0.731760976, 0.681561350},
                 {1, 16, 0.999984875, 0.005499972},
                 {1, 31, 1.000000000, 0.000003334}},
                1e-6);
  ExpectEntries(config,
                {{4095, 0, -0.065975997, -0.997821210},
                 {4095, 1, -0.089910089, -0.995949886},
                 {4095, 16, -0.862123092, -0.506698898},
                 {4095, 31, 0.999906814, 0.013651502}},
                kFarTolerance);
}

TEST(RotaryTable, MatchesYarnForTheDemoModel) {
  const ModelConfig config = ReadConfig("tiny-r1");
  ExpectEntries(config,
                {{1, 0, 0.540302306, 0.841470985},
                 {1, 1, 0.950415280, 0.310983593},
                 {1, 4, 0.999990430, 0.004374986},
                 {1, 7, 0.999999997, 0.000079057}},
                1e-6);
  ExpectEntries(config,
                {{3000, 0, -0.975682200, 0.219189974},
                 {3000, 1, 0.996984167, -0.077605225},
                 {3000, 4, 0.847982366, 0.530024439},
                 {3000, 7, 0.972006589, 0.234953593}},
                kFarTolerance);
}

TEST(RotaryTable, WithoutYarnIsPlain) {
  ModelConfig config = ReadConfig("deepseek-r1");
  config.has_yarn = false;
  const std::vector<float> table = BuildRotaryTable(config, 2);
  for (int64_t pair = 0; pair < 32; ++pair) {
    const double angle = std::pow(10000.0, -2.0 * static_cast<double>(pair) / 64.0);
    EXPECT_NEAR(table[static_cast<size_t>(64 + 2 * pair)], std::cos(angle), 1e-6);
    EXPECT_NEAR(table[static_cast<size_t>(64 + 2 * pair + 1)], std::sin(angle), 1e-6);
  }
}

TEST(RotaryTable, WithoutMscaleOfAllDimensionsTheAmplitudeIsThatOfMscale) {
  ModelConfig config = ReadConfig("deepseek-r1");
  config.yarn.mscale_all_dim = 0.0;
  const float amplitude = BuildRotaryTable(config, 1)[0];
  EXPECT_NEAR(amplitude, 0.1 * std::log(40.0) + 1.0, 1e-6);
}

// Two mscales that differ tell which one goes where: the table has their ratio, the softmax scale
// the square of mscale_all_dim's amplitude. Expected values: this Python, m and a being the two.
// Frequencies f: pair 0, 1; pair 1, 10000 ** (-2 / 64); pair 16, where the ramp from pair 10 to 23
// is at r = 6 / 13, 0.01 * (1 - r) + 0.01 / 40 * r.
//   y = lambda mscale: 0.1 * mscale * log(40) + 1
//   y(m) / y(a) * cos(f), y(m) / y(a) * sin(f), 192 ** -0.5 * y(a) ** 2
struct Mscales {
  double mscale;
  double mscale_all_dim;
  double attention_scale;
  std::vector<Entry> entries;
};

TEST(RotaryTable, TellsTheTwoMscalesApart) {
  const Mscales cases[] = {{0.707,
                            1.3,
                            0.157983314,
                            {{0, 0, 0.852151052, 0.0},
                             {1, 0, 0.460419178, 0.717060385},
                             {1, 1, 0.623570885, 0.580793221},
                             {1, 16, 0.852138163, 0.004686807}}},
                           {2.0,
                            0.5,
                            0.101246130,
                            {{0, 0, 1.467165971, 0.0},
                             {1, 0, 0.792713157, 1.234577594},
                             {1, 1, 1.073614802, 0.999963620},
                             {1, 16, 1.467143780, 0.008069372}}}};
  for (const Mscales& expected : cases) {
    nlohmann::json text = nlohmann::json::parse(ReadConfigText("deepseek-r1"));
    text["rope_scaling"]["mscale"] = expected.mscale;
    text["rope_scaling"]["mscale_all_dim"] = expected.mscale_all_dim;
    const auto config = ParseModelConfig(text.dump());
    ASSERT_TRUE(config.ok()) << config.status();
    ExpectEntries(*config, expected.entries, 1e-6);
    EXPECT_NEAR(config->attention_scale(), expected.attention_scale, 1e-8);
  }
}

}  // namespace
}  // namespace baton
