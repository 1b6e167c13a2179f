#include "services/gateway/http/body_budget.h"

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

using testing::ElementsAre;

TEST(BodyBudget, RefusesWhatDoesNotFitAndTakesNothingOfIt) {
  BodyBudget bodies(10);
  EXPECT_TRUE(bodies.Take(4));
  EXPECT_FALSE(bodies.Take(7));
  EXPECT_FALSE(bodies.Take(SIZE_MAX));
  EXPECT_EQ(bodies.num_bytes(), 4u);
  EXPECT_TRUE(bodies.Take(6));
  bodies.GiveBack(10);
  EXPECT_EQ(bodies.num_bytes(), 0u);
}

TEST(BodyBudget, TellsWhatChangesAndWhatIsRefused) {
  std::vector<int64_t> changes;
  int num_refusals = 0;
  BodyBudget bodies(10, {.on_change = [&](int64_t num_bytes) { changes.push_back(num_bytes); },
                         .on_refusal = [&] { ++num_refusals; }});
  bodies.Take(8);
  bodies.Take(3);
  bodies.GiveBack(8);
  EXPECT_THAT(changes, ElementsAre(8, -8));
  EXPECT_EQ(num_refusals, 1);
}

TEST(BodyHold, GivesBackWhatItHasOnce) {
  const auto bodies = std::make_shared<BodyBudget>(10);
  {
    BodyHold first(bodies);
    EXPECT_TRUE(first.Grow(BodyHold::kFreeBytes + 3));
    EXPECT_TRUE(first.Grow(4));
    EXPECT_FALSE(first.Grow(4));
    EXPECT_EQ(bodies->num_bytes(), 7u);
    const BodyHold second = std::move(first);
    EXPECT_EQ(bodies->num_bytes(), 7u);
  }
  EXPECT_EQ(bodies->num_bytes(), 0u);
  BodyHold replaced(bodies);
  EXPECT_TRUE(replaced.Grow(BodyHold::kFreeBytes + 10));
  replaced = BodyHold(bodies);
  EXPECT_EQ(bodies->num_bytes(), 0u);
  EXPECT_TRUE(replaced.Grow(BodyHold::kFreeBytes + 10));
  replaced.Release();
  EXPECT_EQ(bodies->num_bytes(), 0u);
}

TEST(BodyHold, TakesWhatABodyHasAboveItsFreeBytes) {
  const auto bodies = std::make_shared<BodyBudget>(10);
  ASSERT_TRUE(bodies->Take(9));
  BodyHold hold(bodies);
  EXPECT_TRUE(hold.Grow(BodyHold::kFreeBytes - 1));
  EXPECT_TRUE(hold.Grow(1));
  EXPECT_EQ(bodies->num_bytes(), 9u);
  EXPECT_TRUE(hold.Grow(1));
  EXPECT_EQ(bodies->num_bytes(), 10u);
  EXPECT_FALSE(hold.Grow(1));
  hold.Release();
  EXPECT_EQ(bodies->num_bytes(), 9u);
}

}  // namespace
}  // namespace baton::gateway
