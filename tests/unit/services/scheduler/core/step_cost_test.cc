#include "services/scheduler/core/step_cost.h"

#include <cmath>
#include <random>

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

// What a DeepSeek-R1 stage at 8 ranks costs at the floor of its memory and arithmetic.
CostTerms R1Stage() { return {.values = {3e-4, 9e-3, 3e-6, 8e-9, 9e-8, 4e-10, 3e-7}}; }

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
                   static_cast<double>(work.sampled)}};
    return prices_ * amounts;
  }
  // Some steps as they come while it serves.
  void Serve(int num_steps, StepCost* cost) {
    for (int i = 0; i < num_steps; ++i) {
      StepWork work = Decodes(1 + random_() % 128, 200 + random_() % 8000);
      if (random_() % 3 == 0) work.Add(random_() % 30000, 64 + random_() % 2000, false);
      const double noise = 0.95 + 0.001 * static_cast<double>(random_() % 100);
      cost->Observe(work, std::vector<double>(cost->stages().size(), Seconds(work) * noise));
    }
  }

 private:
  const CostTerms prices_;
  std::mt19937 random_{7};
};

void ExpectNear(double value, double expected, double part) {
  EXPECT_GT(value, expected * (1 - part));
  EXPECT_LT(value, expected * (1 + part));
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
