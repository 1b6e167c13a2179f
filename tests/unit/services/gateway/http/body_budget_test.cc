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
  EXPECT_TRUE(bodies.Take("", 0, 4));
  EXPECT_FALSE(bodies.Take("", 0, 7));
  EXPECT_FALSE(bodies.Take("a", 0, SIZE_MAX));
  EXPECT_EQ(bodies.num_bytes(), 4u);
  EXPECT_TRUE(bodies.Take("", 4, 6));
  bodies.GiveBack("", 10);
  EXPECT_EQ(bodies.num_bytes(), 0u);
}

TEST(BodyBudget, TellsWhatChangesAndWhatIsRefused) {
  std::vector<int64_t> changes;
  int num_refusals = 0;
  BodyBudget bodies(10, {.on_change = [&](int64_t num_bytes) { changes.push_back(num_bytes); },
                         .on_refusal = [&] { ++num_refusals; }});
  bodies.Take("", 0, 8);
  bodies.Take("", 0, 3);
  bodies.GiveBack("", 8);
  EXPECT_THAT(changes, ElementsAre(8, -8));
  EXPECT_EQ(num_refusals, 1);
}

TEST(BodyBudget, NoCallerKeepsOthersOut) {
  BodyBudget bodies(800);
  EXPECT_TRUE(bodies.Take("large", 0, 500));
  EXPECT_FALSE(bodies.Take("large", 0, 201)) << "100 are kept";
  EXPECT_TRUE(bodies.Take("large", 0, 200));
  EXPECT_FALSE(bodies.Take("second", 0, 68)) << "it leaves a third of these to the next one";
  EXPECT_TRUE(bodies.Take("second", 0, 67));
  EXPECT_FALSE(bodies.Take("second", 67, 1));
  EXPECT_FALSE(bodies.Take("large", 500, 1));
  EXPECT_TRUE(bodies.Take("third", 0, 8)) << "and so on";
  bodies.GiveBack("large", 700);
  EXPECT_TRUE(bodies.Take("second", 67, 100));
  bodies.GiveBack("second", 167);
  bodies.GiveBack("third", 8);
  EXPECT_EQ(bodies.num_bytes(), 0u);
}

TEST(BodyBudget, TheOnlyBodyMayHaveAll) {
  BodyBudget bodies(800);
  EXPECT_TRUE(bodies.Take("a", 0, 600));
  EXPECT_TRUE(bodies.Take("a", 600, 200));
  bodies.GiveBack("a", 800);
  EXPECT_TRUE(bodies.Take("b", 0, 1));
  EXPECT_FALSE(bodies.Take("a", 0, 799)) << "it is not the only one now";
  EXPECT_TRUE(bodies.Take("", 0, 799)) << "where there are no keys";
}

TEST(BodyHold, TakesAndGivesBackForItsCaller) {
  const auto bodies = std::make_shared<BodyBudget>(800);
  BodyHold first(bodies, "a");
  BodyHold second(bodies, "a");
  EXPECT_TRUE(first.Grow(BodyHold::kFreeBytes + 600));
  EXPECT_FALSE(second.Grow(BodyHold::kFreeBytes + 101));
  EXPECT_TRUE(second.Grow(BodyHold::kFreeBytes + 100));
  BodyHold other(bodies, "b");
  EXPECT_TRUE(other.Grow(BodyHold::kFreeBytes + 60));
  const BodyHold moved = std::move(second);
  first = BodyHold(bodies);
  EXPECT_EQ(bodies->num_bytes(), 160u);
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
  ASSERT_TRUE(bodies->Take("", 0, 9));
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
