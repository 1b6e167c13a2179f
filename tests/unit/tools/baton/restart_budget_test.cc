#include "tools/baton/restart_budget.h"

#include "gtest/gtest.h"

namespace baton {
namespace {

const absl::Time kBirth = absl::FromUnixSeconds(1000);

// Lives for `life` and dies; how long it has to wait then, or -1 s if it stays dead.
absl::Duration PauseAfter(RestartBudget* budget, absl::Time* now, absl::Duration life) {
  budget->Started(*now);
  *now += life;
  const auto again = budget->Died(*now);
  if (!again.has_value()) return absl::Seconds(-1);
  const absl::Duration pause = *again - *now;
  *now = *again;
  return pause;
}

TEST(RestartBudget, StartsAgainAtOnce) {
  RestartBudget budget({});
  absl::Time now = kBirth;
  EXPECT_EQ(PauseAfter(&budget, &now, absl::Hours(1)), absl::ZeroDuration());
  EXPECT_EQ(PauseAfter(&budget, &now, absl::Milliseconds(1)), absl::ZeroDuration());
}

TEST(RestartBudget, PausesLongerAfterEachShortLifeInARow) {
  RestartBudget budget({.max_deaths = 100});
  absl::Time now = kBirth;
  PauseAfter(&budget, &now, absl::Milliseconds(100));
  EXPECT_EQ(PauseAfter(&budget, &now, absl::Milliseconds(100)), absl::Milliseconds(100));
  EXPECT_EQ(PauseAfter(&budget, &now, absl::Milliseconds(100)), absl::Milliseconds(200));
  EXPECT_EQ(PauseAfter(&budget, &now, absl::Milliseconds(100)), absl::Milliseconds(400));
  for (int i = 0; i < 10; ++i) PauseAfter(&budget, &now, absl::ZeroDuration());
  EXPECT_EQ(PauseAfter(&budget, &now, absl::ZeroDuration()), absl::Seconds(5));
  EXPECT_EQ(PauseAfter(&budget, &now, absl::Seconds(3)), absl::ZeroDuration());
}

TEST(RestartBudget, EndsWhenTheWindowHoldsTooManyDeaths) {
  RestartBudget budget({.max_deaths = 2, .window = absl::Seconds(60)});
  absl::Time now = kBirth;
  EXPECT_EQ(PauseAfter(&budget, &now, absl::Seconds(10)), absl::ZeroDuration());
  EXPECT_EQ(PauseAfter(&budget, &now, absl::Seconds(10)), absl::ZeroDuration());
  EXPECT_EQ(PauseAfter(&budget, &now, absl::Seconds(10)), absl::Seconds(-1));
}

TEST(RestartBudget, ForgetsDeathsThatLeftTheWindow) {
  RestartBudget budget({.max_deaths = 2, .window = absl::Seconds(60)});
  absl::Time now = kBirth;
  for (int i = 0; i < 1000; ++i)
    EXPECT_EQ(PauseAfter(&budget, &now, absl::Seconds(30)), absl::ZeroDuration()) << i;
}

TEST(RestartBudget, OfNoneEndsAtTheFirstDeath) {
  RestartBudget budget({.max_deaths = 0});
  absl::Time now = kBirth;
  EXPECT_EQ(PauseAfter(&budget, &now, absl::Hours(10)), absl::Seconds(-1));
}

}  // namespace
}  // namespace baton
