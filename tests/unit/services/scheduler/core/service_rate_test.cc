#include "services/scheduler/core/service_rate.h"

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

TEST(ServiceRate, DoesNotTrustTheFirstSteps) {
  ServiceRate rate;
  rate.AddStep(100, 0, 900'000);
  EXPECT_EQ(rate.TimeFor({.prompt_tokens = 1000, .answer_tokens = 1000}), 0);
  for (int i = 0; i < 100; ++i) rate.AddStep(100, 0, 0);
  EXPECT_EQ(rate.TimeFor({.prompt_tokens = 1000}), 0) << "steps without time tell nothing";
  for (int i = 0; i < 15; ++i) rate.AddStep(100, 0, 1000);
  EXPECT_GT(rate.TimeFor({.prompt_tokens = 1000}), 0);
}

TEST(ServiceRate, TellsDecodesFromPrompts) {
  ServiceRate rate;
  for (int i = 0; i < 100; ++i) {
    rate.AddStep(0, 8, 2000);          // a step of decodes: 2 ms
    rate.AddStep(100, 8, 2000 + 500);  // with 100 tokens of prompts: 5 us each
  }
  EXPECT_EQ(rate.TimeFor({.prompt_tokens = 1000}), 5000);
  EXPECT_EQ(rate.TimeFor({.answer_tokens = 800}), 200'000);
  EXPECT_EQ(rate.TimeFor({.prompt_tokens = 1000, .answer_tokens = 800}), 205'000);
}

TEST(ServiceRate, FollowsAChangeOfSpeed) {
  ServiceRate rate;
  for (int i = 0; i < 1000; ++i) rate.AddStep(0, 4, 1000);
  for (int i = 0; i < 200; ++i) rate.AddStep(0, 4, 3000);
  EXPECT_NEAR(static_cast<double>(rate.TimeFor({.answer_tokens = 4})), 3000, 50);
}

TEST(ServiceRate, ExpectsAnswersAsLongAsTheyWere) {
  ServiceRate rate;
  const uint32_t at_first = rate.ExpectedAnswer(100'000);
  EXPECT_GT(at_first, 0u);
  EXPECT_EQ(rate.ExpectedAnswer(3), 3u) << "no more than it may have";
  for (int i = 0; i < 1000; ++i) rate.AddAnswer(1000);
  EXPECT_NEAR(rate.ExpectedAnswer(100'000), 1000, 50);
}

}  // namespace
}  // namespace baton::scheduler
