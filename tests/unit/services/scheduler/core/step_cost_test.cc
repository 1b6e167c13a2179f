#include "services/scheduler/core/step_cost.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

// What a DeepSeek-R1 stage at 8 ranks costs at the floor of its memory and arithmetic.
CostTerms R1Stage() { return {.values = {3e-4, 9e-3, 3e-6, 8e-9, 9e-8, 4e-10, 3e-7, 1.4e-9}}; }

StepCostOptions R1Prior(size_t num_stages = 1) {
  return {.prior = std::vector<CostTerms>(num_stages, R1Stage()), .expert_share = 1.0 / 32};
}

StepWork Decodes(uint64_t rows, uint64_t context) {
  StepWork work;
  for (uint64_t i = 0; i < rows; ++i) work.Add(context, 1, true);
  return work;
}

StepWork Chunk(uint64_t begin, uint64_t num_tokens) {
  StepWork work;
  work.Add(begin, num_tokens, false);
  return work;
}

// A device with prices of its own.
class Device {
 public:
  explicit Device(CostTerms prices) : prices_(prices) {}

  double Seconds(const StepWork& work) const {
    const double tokens = static_cast<double>(work.tokens);
    const CostTerms amounts{
        .values = {1, 1 - std::pow(31.0 / 32, tokens), tokens, static_cast<double>(work.decode_kv),
                   static_cast<double>(work.chunk_kv), static_cast<double>(work.chunk_pairs),
                   static_cast<double>(work.sampled), static_cast<double>(work.absorbed_pairs)}};
    return prices_ * amounts;
  }
  // Some steps as they come while it serves.
  void Serve(int num_steps, StepCost* cost) {
    for (int i = 0; i < num_steps; ++i) {
      StepWork work = Decodes(1 + random_() % 128, 200 + random_() % 8000);
      if (random_() % 3 == 0) work.Add(random_() % 30000, 64 + random_() % 2000, false);
      Take(work, cost);
    }
  }
  // Likewise with prompts that are expanded, one after the other, each step as full as it can be.
  void ServeExpanded(int num_steps, uint64_t longest, StepCost* cost) {
    uint64_t begin = 0;
    uint64_t num_prompt = 0;
    for (int i = 0; i < num_steps; ++i) {
      const uint64_t rows = 1 + random_() % 64;
      StepWork work = Decodes(rows, 200 + random_() % 8000);
      if (begin == num_prompt) {
        begin = 0;
        num_prompt = 1 + random_() % longest;
      }
      const uint64_t end = std::min(num_prompt, (begin + 2048 - rows) / 64 * 64);
      work.Add(begin, end - begin, end == num_prompt, num_prompt / 64 * 64);
      begin = end;
      Take(work, cost);
    }
  }

 private:
  void Take(const StepWork& work, StepCost* cost) {
    const double noise = 0.95 + 0.001 * static_cast<double>(random_() % 100);
    cost->Observe(work, std::vector<double>(cost->stages().size(), Seconds(work) * noise));
  }

  const CostTerms prices_;
  std::mt19937 random_{7};
};

void ExpectNear(double value, double expected, double part) {
  EXPECT_GT(value, expected * (1 - part));
  EXPECT_LT(value, expected * (1 + part));
}

TEST(StepWork, CountsEachFormOfAttention) {
  StepWork one_form;
  one_form.Add(100, 1, true);
  one_form.Add(100, 10, false);
  EXPECT_EQ(
      one_form,
      (StepWork{
          .tokens = 11, .decode_kv = 101, .chunk_kv = 110, .chunk_pairs = 1055, .sampled = 1}));
  StepWork both;  // of a prompt of 131 tokens, then of its answer
  both.Add(64, 67, true, 128);
  EXPECT_EQ(both, (StepWork{.tokens = 67,
                            .chunk_kv = 128,
                            .chunk_pairs = 64 * 64 + 64 * 65 / 2,
                            .sampled = 1,
                            .absorbed_pairs = 129 + 130 + 131}));
  StepWork absorbed;
  absorbed.Add(131, 1, true, 128);
  absorbed.Add(128, 3, true, 128);
  EXPECT_EQ(absorbed,
            (StepWork{.tokens = 4, .decode_kv = 132, .sampled = 2, .absorbed_pairs = 390}));
  StepWork expanded;  // a single token pays for all before it, too
  expanded.Add(100, 1, false, 128);
  EXPECT_EQ(expanded, (StepWork{.tokens = 1, .chunk_kv = 101, .chunk_pairs = 101}));
}

TEST(StepWork, CountsAllChunksOfAPrompt) {
  for (const std::optional<uint64_t> num_expanded :
       {std::optional<uint64_t>(), std::optional<uint64_t>(0), std::optional<uint64_t>(64),
        std::optional<uint64_t>(300), std::optional<uint64_t>(304)}) {
    for (const uint64_t begin : {0, 64, 128, 299}) {
      StepWork chunks;
      for (uint64_t next = begin; next < 310; next += 60) {
        const uint64_t num_tokens = std::min<uint64_t>(60, 310 - next);
        chunks.Add(next, num_tokens, next + num_tokens == 310, num_expanded);
      }
      StepWork all;
      all.AddChunks(begin, 310 - begin, 60, num_expanded);
      EXPECT_EQ(all, chunks) << begin << " " << num_expanded.value_or(999);
    }
  }
}

TEST(StepCost, WithoutPriorCostsTokens) {
  StepCost cost({});
  EXPECT_FALSE(cost.learns());
  EXPECT_DOUBLE_EQ(cost.Seconds(Chunk(1000, 64)), 64);
  cost.Observe(Chunk(0, 64), {5.0});
  EXPECT_DOUBLE_EQ(cost.Seconds(Chunk(0, 64)), 64);
}

TEST(StepCost, IsThePriorBeforeData) {
  const StepCost cost(R1Prior());
  EXPECT_DOUBLE_EQ(cost.Seconds(Decodes(1, 1000)), 3e-4 + 9e-3 / 32 + 3e-6 + 1001 * 8e-9 + 3e-7);
  EXPECT_EQ(cost.num_observations(), 0u);
}

TEST(StepCost, TakesTheScaleOfADeviceFromItsFirstSteps) {
  StepCost cost(R1Prior());
  CostTerms slow = R1Stage();
  for (double& price : slow.values) price *= 300;
  Device device(slow);
  device.Serve(3, &cost);
  for (const StepWork& work : {Decodes(8, 3000), Chunk(0, 2048), Chunk(30000, 512)}) {
    ExpectNear(cost.Seconds(work), device.Seconds(work), 0.1);
  }
}

TEST(StepCost, LearnsPricesOfOtherProportions) {
  StepCost cost(R1Prior());
  CostTerms other = R1Stage();
  const std::array<double, CostTerms::kCount> factors = {4, 1.5, 3, 0.5, 2, 5, 1};
  for (size_t i = 0; i < factors.size(); ++i) other.values[i] *= factors[i];
  Device device(other);
  device.Serve(2000, &cost);
  for (const StepWork& work :
       {Decodes(2, 3000), Decodes(100, 500), Chunk(0, 2048), Chunk(30000, 512)}) {
    ExpectNear(cost.Seconds(work), device.Seconds(work), 0.1);
  }
  EXPECT_LT(cost.stages()[0].error(), 0.1);
}

// Whatever the prompts that it learned from: what a short chunk behind a long prefix costs is
// known.
TEST(StepCost, LearnsPricesOfBothFormsOfAttention) {
  for (const uint64_t longest : {1000u, 8000u, 40000u}) {
    StepCost cost(R1Prior());
    CostTerms other = R1Stage();
    const std::array<double, CostTerms::kCount> factors = {4, 1.5, 3, 0.5, 2, 1.5, 1, 2.5};
    for (size_t i = 0; i < factors.size(); ++i) other.values[i] *= factors[i];
    Device device(other);
    device.ServeExpanded(2000, longest, &cost);
    EXPECT_LT(cost.stages()[0].error(), 0.1) << longest;
    const uint64_t end = longest / 2048 * 2048 + 2048;
    for (const uint64_t begin : {uint64_t{0}, longest / 2, longest}) {
      StepWork chunk;
      chunk.Add(begin, 64, false, end);
      ExpectNear(cost.Seconds(chunk), device.Seconds(chunk), 0.15);
      chunk.Add(begin, 2048, false, end + 2048);
      ExpectNear(cost.Seconds(chunk), device.Seconds(chunk), 0.15);
      StepWork again;  // of a sequence that lost its blocks: most of it is its answer
      again.Add(begin, 2048, false, 256);
      ExpectNear(cost.Seconds(again), device.Seconds(again), 0.25);
    }
  }
}

TEST(StepCost, KnowsWhatAPrefixCostsAChunk) {
  StepCost cost(R1Prior(2));
  EXPECT_EQ(cost.TokensOfExpansion(0), 0);
  for (const uint64_t context : {1000u, 30000u}) {
    const auto tokens = static_cast<uint64_t>(cost.TokensOfExpansion(context));
    StepWork expansion{.chunk_kv = context};
    StepWork chunk{.tokens = tokens, .chunk_pairs = tokens * context};
    const double fixed = cost.Seconds({});
    const double experts = cost.Seconds({.tokens = tokens}) - cost.Seconds({}) - 3e-6 * tokens;
    EXPECT_NEAR(cost.Seconds(chunk) - fixed - experts, cost.Seconds(expansion) - fixed,
                0.05 * cost.Seconds(expansion));
  }
  EXPECT_EQ(StepCost({}).TokensOfExpansion(30000), 0);
}

TEST(StepCost, FollowsADeviceThatSlowsDown) {
  StepCost cost(R1Prior());
  Device(R1Stage()).Serve(500, &cost);
  CostTerms slow = R1Stage();
  for (double& price : slow.values) price *= 2;
  Device device(slow);
  device.Serve(300, &cost);
  ExpectNear(cost.Seconds(Decodes(64, 2000)), device.Seconds(Decodes(64, 2000)), 0.15);
}

TEST(StepCost, ASingleWildStepChangesLittle) {
  StepCost cost(R1Prior());
  Device(R1Stage()).Serve(500, &cost);
  const double before = cost.Seconds(Decodes(64, 2000));
  cost.Observe(Decodes(64, 2000), {before * 1000});
  ExpectNear(cost.Seconds(Decodes(64, 2000)), before, 0.1);
}

TEST(StepCost, PricesStayAboveZero) {
  StepCost cost(R1Prior());
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    // Times that no non-negative prices explain.
    const StepWork work = Decodes(1 + random() % 100, random() % 5000);
    cost.Observe(work, {i % 2 == 0 ? 1e-6 : 1.0 / static_cast<double>(work.tokens)});
  }
  for (const double price : cost.stages()[0].prices().values) EXPECT_GT(price, 0);
}

TEST(StepCost, IgnoresWhatIsNoMeasurement) {
  StepCost cost(R1Prior(2));
  cost.Observe(Decodes(1, 10), {1.0});
  cost.Observe(StepWork(), {1.0, 1.0});
  EXPECT_EQ(cost.num_observations(), 0u);
  cost.Observe(Decodes(1, 10), {0.0, NAN});
  EXPECT_DOUBLE_EQ(cost.Seconds(Decodes(1, 10)), StepCost(R1Prior()).Seconds(Decodes(1, 10)));
}

TEST(StepCost, TheSlowestStageCounts) {
  StepCostOptions options = R1Prior(2);
  for (double& price : options.prior[1].values) price *= 3;
  const StepCost cost(options);
  EXPECT_DOUBLE_EQ(cost.Seconds(Decodes(4, 100)), 3 * StepCost(R1Prior()).Seconds(Decodes(4, 100)));
}

TEST(StepCost, OneMoreDecodeAddsItsPrice) {
  const StepCost cost(R1Prior());
  const StepWork step = Decodes(40, 1000);
  const StepCost::DecodePrice price = cost.PriceOfDecode(step);
  StepWork more = step;
  more.Add(5000, 1, true);
  ExpectNear(price.row + 5001 * price.position, cost.Seconds(more) - cost.Seconds(step), 0.02);
}

}  // namespace
}  // namespace baton::scheduler
