// What floods a group, so that its steps are short, and what does not.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/short_steps.h"

namespace baton::scheduler {
namespace {

// A flood is one before its first step is done: its prompts do not come all at once.
TEST(ScheduleFloods, ShortenStepsFromTheirFirst) {
  ScheduleOptions options = ShortStepOptions();
  options.max_running = 256;
  Place place(options);
  place.Add(1, "aggressor", 32, 4000);
  place.Step();
  VictimComesAndGoes(&place);
  place.now += kSecond;
  for (SequenceId id = 100; id < 200; ++id) place.Add(id, "aggressor", 32, 4000);
  const std::optional<Batch> batch = place.Step();
  EXPECT_LE(SecondsOf(*batch), kShortSeconds + kRowSeconds);
}

// Its weight gives a key a larger share, and no leave to flood.
TEST(ScheduleFloods, MayBeOfAHeavyKeyAlone) {
  ScheduleOptions options = ShortStepOptions();
  options.max_running = 256;
  Place place(options);
  place.Add(1, "aggressor", 32, 4000, 2);
  place.Step();
  VictimComesAndGoes(&place);
  for (SequenceId id = 100; id < 250; ++id) place.Add(id, "aggressor", 32, 4000, 2);
  EXPECT_LE(SecondsOf(*place.Step()), kShortSeconds + kRowSeconds);
}

TEST(ScheduleFloods, AreCountedByWhatIsFlooded) {
  Place place(ShortStepOptions());
  Fill(&place, 10);
  const auto before = place.schedule.counts().num_short_steps;
  for (int step = 0; step < 10; ++step) place.Step();
  const auto after = place.schedule.counts().num_short_steps;
  EXPECT_EQ(after[0] - before[0], 10u) << "places";
  EXPECT_EQ(after[1] + after[2], 0u);
}

// A user with two or three requests, alone, has all the time, which is no flood: somebody else's
// request of a moment ago does not cut its prompts.
TEST(ScheduleFloods, AreNotAFewRequestsOfAKeyAlone) {
  for (const uint32_t num_requests : {2u, 3u, 4u}) {
    Place place(ShortStepOptions());
    for (SequenceId id = 1; id <= num_requests; ++id) place.Add(id, "user", 1500, 4000);
    VictimComesAndGoes(&place);
    for (SequenceId id = 11; id <= 10 + num_requests; ++id) {
      place.schedule.Cancel(id - 10);
      place.Add(id, "user", 1500, 4000);
    }
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value());
    if (num_requests < 4) {
      EXPECT_GE(batch->num_tokens(), 2048u - 64u) << num_requests;
    } else {
      EXPECT_LE(SecondsOf(*batch), kShortSeconds + kRowSeconds) << "more are";
    }
  }
}

TEST(ScheduleFloods, AreNotOfAKeyThatIsAloneForLong) {
  Place place(ShortStepOptions());
  Fill(&place, 10);
  place.now += 11 * kSecond;
  const std::optional<Batch> batch = place.Step();
  EXPECT_EQ(batch->rows.size(), kPlaces);
}

// Nobody floods: what one key has, another need not wait for.
TEST(ScheduleFloods, AreNotManyKeysOfFewRequests) {
  for (const uint32_t num_keys : {8u, kPlaces, 3 * kPlaces}) {
    Place place(ShortStepOptions());
    for (SequenceId id = 1; id <= num_keys; ++id) place.Add(id, absl::StrCat("key", id), 32, 4000);
    for (int step = 0; step < 20; ++step) place.Step();
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value());
    EXPECT_EQ(batch->rows.size(), std::min(num_keys, kPlaces));
  }
}

// Each key has more than it can run: nobody comes that could begin at once.
TEST(ScheduleFloods, AreNotKeysThatAllHaveMoreThanTheyRun) {
  Place place(ShortStepOptions(1));
  SequenceId next = 1;
  for (const std::string key : {"a", "b"}) {
    for (int i = 0; i < 20; ++i) place.Add(next++, key, 32, 4000);
  }
  for (int step = 0; step < 100; ++step) place.Step();
  place.now += 11 * kSecond;
  place.Add(next++, "a", 32, 4000);
  place.Add(next++, "b", 32, 4000);
  for (int step = 0; step < 4; ++step) {
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value()) << "it is ordered while the one before is in flight";
    EXPECT_EQ(batch->rows.size(), kPlaces);
  }
}

}  // namespace
}  // namespace baton::scheduler
