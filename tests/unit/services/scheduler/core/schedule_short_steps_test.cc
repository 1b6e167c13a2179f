// How long steps get by what can wait, while a request of a key within its share may come.
#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/short_steps.h"

namespace baton::scheduler {
namespace {

// A newcomer waits for this part of what it takes alone.
constexpr double kWaitPart = 0.375;
// What can wait adds this part to a newcomer's first step.
constexpr double kFirstLonger = 1.016;
// And this part to those behind it.
constexpr double kLonger = 0.125;

TEST(ScheduleShortSteps, DecodesTakeTurns) {
  Place place(ShortStepOptions());
  Fill(&place, 10);
  std::map<SequenceId, int> last_rows;
  for (int step = 0; step < 40; ++step) {
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value());
    EXPECT_LE(SecondsOf(*batch), kShortSeconds);
    EXPECT_GE(SecondsOf(*batch), kShortSeconds - kRowSeconds) << "as many as may be";
    for (const BatchRow& row : batch->rows) {
      EXPECT_LE(step - last_rows[row.id], 4) << "16 places by 4";
      last_rows[row.id] = step;
    }
  }
  EXPECT_EQ(last_rows.size(), kPlaces);
}

// The first token of a victim takes the rest of a short step and one step that is hardly longer
// than it would be alone, however much the other key has running and waiting.
TEST(ScheduleShortSteps, AVictimIsHardlyHeldUp) {
  for (const uint32_t prompt_tokens : {1u, 8u, 32u, 300u, 1500u}) {
    Place place(ShortStepOptions());
    Fill(&place, 200);
    Place alone(ShortStepOptions());
    double own = 0;
    for (SequenceId id = 1000; id < 1010; ++id) {
      const std::optional<Batch> before = place.Step();
      EXPECT_LE(SecondsOf(*before), std::max(kShortSeconds, kWaitPart * own));
      place.Add(id, "victim", prompt_tokens, 1);
      alone.Add(id, "victim", prompt_tokens, 1);
      const std::optional<Batch> shared = place.Step();
      const std::optional<BatchRow> row = Place::RowOf(shared, id);
      ASSERT_TRUE(row.has_value() && row->sample) << prompt_tokens;
      own = SecondsOf(*alone.Step());
      EXPECT_LE(SecondsOf(*shared), kFirstLonger * own);
      for (int step = 0; step < 5; ++step) place.Step();
    }
  }
}

// A token far on in a long prompt costs as much as a decode: no first step of a victim has one.
TEST(ScheduleShortSteps, AVictimIsNotHeldUpByOneTokenOfALongPrompt) {
  const StepCostOptions prices = Prices(1e-6);
  ScheduleOptions options = ShortStepOptions();
  options.step_cost = prices;
  Place place(options);
  for (SequenceId id = 1; id <= kPlaces; ++id) place.Add(id, "aggressor", 4000, 100);
  VictimComesAndGoes(&place);
  for (int step = 0; step < 200; ++step) place.Step();
  Place alone(options);
  for (SequenceId id = 1000; id < 1010; ++id) {
    place.Add(id, "victim", 32, 1);
    alone.Add(id, "victim", 32, 1);
    const std::optional<Batch> shared = place.Step();
    ASSERT_TRUE(Place::RowOf(shared, id).has_value());
    EXPECT_LE(SecondsOf(*shared, prices), kFirstLonger * SecondsOf(*alone.Step(), prices));
    const std::optional<Batch> next = place.Step();
    ASSERT_TRUE(next.has_value());
    EXPECT_GE(next->rows.front().begin, 1000u) << "the prompt goes on";
  }
}

TEST(ScheduleShortSteps, PromptsOfTheOthersGoOn) {
  Place place(ShortStepOptions());
  for (SequenceId id = 1; id <= 8; ++id) place.Add(id, "aggressor", 32, 4000);
  place.Step();
  VictimComesAndGoes(&place);
  for (SequenceId id = 9; id <= 20; ++id) place.Add(id, "aggressor", 300, 4000);
  for (int step = 0; step < 400; ++step) {
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value());
    EXPECT_LE(SecondsOf(*batch), kShortSeconds + kRowSeconds);
  }
  for (SequenceId id = 9; id <= kPlaces; ++id) {
    EXPECT_GT(place.schedule.Find(id)->num_generated(), 0u) << id;
  }
}

// What cannot wait comes first, whatever its class: it has the time that was planned for it.
TEST(ScheduleShortSteps, AVictimOfALowerClassHasItsOwnTime) {
  Place place(ShortStepOptions());
  for (SequenceId id = 1; id <= 8; ++id) place.Add(id, "aggressor", 32, 4000, 1, 1);
  place.Step();
  VictimComesAndGoes(&place);
  for (SequenceId id = 9; id <= 20; ++id) place.Add(id, "aggressor", 300, 4000, 1, 1);
  for (int step = 0; step < 20; ++step) place.Step();
  for (SequenceId id = 1000; id < 1020; id += 2) {
    place.Add(id, "victim", 32, 1);
    place.Add(id + 1, "other victim", 500, 1, 1, 1);
    const std::optional<Batch> batch = place.Step();
    for (const SequenceId urgent : {id, id + 1}) {
      const std::optional<BatchRow> row = Place::RowOf(batch, urgent);
      EXPECT_TRUE(row.has_value() && row->sample) << urgent;
    }
    for (int step = 0; step < 5; ++step) place.Step();
  }
}

// A limit of chunks leaves tokens in every step of a long prompt: others have some of them, and no
// more time than beside whole steps of it.
TEST(ScheduleShortSteps, OthersHaveAnEighthBesideLimitedChunks) {
  ScheduleOptions options = ShortStepOptions();
  options.max_step_tokens = 512;
  options.max_chunk_tokens = 128;
  Place place(options);
  Fill(&place, 10);
  place.Add(1000, "victim", 4096, 1);
  double own = 0;
  double all = 0;
  for (int step = 0; step < 32; ++step) {
    const std::optional<Batch> batch = place.Step();
    const std::optional<BatchRow> row = Place::RowOf(batch, 1000);
    ASSERT_TRUE(row.has_value()) << step;
    EXPECT_EQ(row->num_tokens, 128u);
    EXPECT_GT(batch->rows.size(), 1u) << step;
    Batch alone = *batch;
    alone.rows = {*row};
    own += SecondsOf(alone);
    all += SecondsOf(*batch);
  }
  EXPECT_LE(all, (1 + kLonger) * own + kRowSeconds);
}

// One that has fewer places than its share only because steps are short is no newcomer for that.
TEST(ScheduleShortSteps, WantingMoreThanItsShareAKeyWaitsWithFewPlaces) {
  Place place(ShortStepOptions());
  for (SequenceId id = 1; id <= 4; ++id) place.Add(id, "aggressor", 32, 4000);
  place.Step();
  VictimComesAndGoes(&place);
  for (SequenceId id = 5; id <= 24; ++id) place.Add(id, "aggressor", 300, 4000);
  for (SequenceId id = 100; id < 110; ++id) {
    for (int step = 0; step < 5; ++step) place.Step();
    ASSERT_LE(place.schedule.counts().num_running, kPlaces / 2);
    place.Add(id, "victim", 4, 1);
    const std::optional<Batch> batch = place.Step();
    EXPECT_TRUE(Place::RowOf(batch, id).has_value());
    EXPECT_LE(SecondsOf(*batch), kShortSeconds + kRowSeconds);
  }
}

// One decode takes longer than a step should: it gets its row, and prompts go on beside it.
TEST(ScheduleShortSteps, ALongDecodeStarvesNoPrompt) {
  ScheduleOptions options = ShortStepOptions();
  options.max_running = 2;
  options.step_cost = Prices(1e-5);
  Place place(options);
  place.Add(1, "aggressor", 2000, 4000);
  place.Step();
  VictimComesAndGoes(&place);
  place.Add(3, "aggressor", 300, 10);
  const uint32_t before = place.schedule.Find(1)->num_generated();
  uint32_t num_steps = 0;
  while (place.schedule.Find(3)->num_generated() == 0 && num_steps < 200) {
    place.Step();
    ++num_steps;
  }
  EXPECT_LT(num_steps, 100u);
  EXPECT_EQ(place.schedule.Find(1)->num_generated(), before + num_steps);
}

// The longer newcomers take alone, the less a long step is to them.
TEST(ScheduleShortSteps, AreAsLongAsNewcomersHardlyFeel) {
  Place place(ShortStepOptions());
  Fill(&place, 200);
  for (SequenceId id = 1000; id < 1040; ++id) {
    place.Add(id, "victim", 300, 1);
    for (int step = 0; step < 3; ++step) place.Step();
  }
  const double own = 1e-3 + 300 * 0.3e-3 + 0.5e-3;
  const double kept_to = place.schedule.counts().short_step_seconds;
  EXPECT_LE(kept_to, kWaitPart * own + 1e-4);
  EXPECT_GE(kept_to, 0.9 * kWaitPart * own);
  EXPECT_EQ(place.Step()->rows.size(), kPlaces) << "all decodes are shorter than that";
}

// Where prompts that cannot wait come in every step, what can wait has its part all the same.
TEST(ScheduleShortSteps, NewcomersInEveryStepStarveNobody) {
  Place place(ShortStepOptions());
  Fill(&place, 200);
  double all = 0;
  double others = 0;
  for (SequenceId id = 1000; id < 1100; ++id) {
    place.Add(id, "victim", 64, 1);
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(Place::RowOf(batch, id).has_value());
    all += SecondsOf(*batch);
    others += SecondsOf(*batch) - SecondsOf({.rows = {*Place::RowOf(batch, id)}});
  }
  EXPECT_GE(others, 0.1 * all);
  EXPECT_LE(others, 0.15 * all);
}

// A prompt of several steps needs no more of them beside a flood, which goes on where that leaves
// room.
TEST(ScheduleShortSteps, ANewcomerNeedsNoMoreStepsThanAlone) {
  for (const uint32_t prompt_tokens : {4096u, 4095u, 4060u, 4000u, 6144u, 6100u}) {
    Place place(ShortStepOptions());
    Fill(&place, 200);
    place.Add(1000, "victim", prompt_tokens, 1);
    const auto ended = [&place] {
      return std::find(place.ended.begin(), place.ended.end(), 1000u) != place.ended.end();
    };
    uint32_t num_steps = 0;
    size_t num_others = 0;
    while (!ended() && num_steps < 10) {
      num_others += place.Step()->rows.size() - 1;
      ++num_steps;
    }
    EXPECT_EQ(num_steps, (prompt_tokens + 2047) / 2048) << prompt_tokens;
    EXPECT_EQ(num_others > 0, prompt_tokens % 2048 > 0) << prompt_tokens;
  }
}

// Steps are short for newcomers at the cost of who floods: others decode in every step.
TEST(ScheduleShortSteps, DecodesOfKeysThatDoNotFloodAreInEach) {
  Place place(ShortStepOptions());
  for (SequenceId id = 1; id <= 40; ++id) place.Add(id, "aggressor", 32, 4000);
  for (SequenceId id = 100; id < 106; ++id) place.Add(id, absl::StrCat("light", id), 32, 4000);
  for (int step = 0; step < 40; ++step) place.Step();
  for (int step = 0; step < 10; ++step) {
    const std::optional<Batch> batch = place.Step();
    for (SequenceId id = 100; id < 106; ++id) {
      EXPECT_TRUE(Place::RowOf(batch, id).has_value()) << id;
    }
    EXPECT_GE(batch->rows.size(), 7u) << "one of the aggressor's at least";
    EXPECT_LE(SecondsOf(*batch), 1.125 * (1e-3 + 6 * kRowSeconds) + 2 * kRowSeconds);
  }
}

TEST(ScheduleShortSteps, GuessesDoNotMakeThemLonger) {
  ScheduleOptions options = ShortStepOptions();
  options.num_speculative_tokens = 3;
  Place place(options);
  Fill(&place, 10);
  uint64_t num_guesses = 0;
  for (int step = 0; step < 40; ++step) {
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value());
    EXPECT_LE(SecondsOf(*batch), kShortSeconds);
    EXPECT_GE(batch->rows.size(), 4u) << "no decode waits for a guess";
    for (const BatchRow& row : batch->rows) num_guesses += row.drafts.size();
  }
  place.now += 11 * kSecond;
  const std::optional<Batch> long_one = place.Step();
  for (const BatchRow& row : long_one->rows) EXPECT_EQ(row.drafts.size(), 3u);
  EXPECT_LE(num_guesses, 40u);
}

// Nor do they take the tokens that a prompt needs to be done in as many steps as alone.
TEST(ScheduleShortSteps, GuessesCostANewcomerNoStep) {
  for (const uint32_t prompt_tokens : {6000u, 6016u}) {
    ScheduleOptions options = ShortStepOptions();
    options.num_speculative_tokens = 7;
    Place place(options);
    Fill(&place, 10);
    place.Add(1000, "victim", prompt_tokens, 1);
    uint32_t num_steps = 0;
    uint64_t num_guesses = 0;
    while (place.schedule.Find(1000) != nullptr && num_steps < 10) {
      const std::optional<Batch> batch = place.Step();
      for (const BatchRow& row : batch->rows) num_guesses += row.drafts.size();
      ++num_steps;
    }
    EXPECT_EQ(num_steps, 3u) << prompt_tokens;
    EXPECT_GT(num_guesses, 0u) << prompt_tokens;
  }
}

// What can wait had nothing to do while prompts that cannot came in every step: it is owed the time
// of one full step for that, however long it was.
TEST(ScheduleShortSteps, WhatIsOwedIsBounded) {
  Place place(ShortStepOptions());
  for (SequenceId id = 1; id <= 6; ++id) place.Add(id, "aggressor", 32, 4000);
  place.Step();
  VictimComesAndGoes(&place);
  SequenceId victim = 1000;
  const auto step = [&] {
    place.Add(victim++, "victim", 1024, 1);
    const std::optional<Batch> batch = place.Step();
    double others = SecondsOf(*batch);
    if (const auto row = Place::RowOf(batch, victim - 1)) others -= SecondsOf({.rows = {*row}});
    return others;
  };
  for (int i = 0; i < 100; ++i) step();
  for (SequenceId id = 100; id < 120; ++id) place.Add(id, "aggressor", 4000, 10);
  const double full_step = SecondsOf({.rows = {{.num_tokens = 2048}}});
  const double victims_step = SecondsOf({.rows = {{.num_tokens = 1024, .sample = true}}});
  double others = 0;
  for (int i = 0; i < 10; ++i) others += step();
  EXPECT_LE(others, full_step + 10 * kLonger * victims_step + kShortSeconds);
  EXPECT_GE(others, 0.9 * full_step) << "what it is owed it gets";
}

// What waits finds no blocks: the decodes have the whole of a short step.
TEST(ScheduleShortSteps, WhatCannotBeginTakesNoTimeFromDecodes) {
  Place place(ShortStepOptions(), 8);
  for (SequenceId id = 1; id <= 8; ++id) place.Add(id, "aggressor", 20, 40);
  place.Step();
  place.Add(50, "victim", 32, 4);
  for (SequenceId id = 100; id < 140; ++id) place.Add(id, "aggressor", 20, 40);
  for (int step = 0; step < 4; ++step) place.Step();
  int most = 0;
  for (int step = 0; step < 20; ++step) {
    const std::optional<Batch> batch = place.Step();
    ASSERT_TRUE(batch.has_value());
    EXPECT_LE(SecondsOf(*batch), kShortSeconds + kRowSeconds);
    if (place.schedule.counts().num_running < 7) continue;
    EXPECT_GE(SecondsOf(*batch), kShortSeconds - kRowSeconds) << step;
    ++most;
  }
  EXPECT_GT(most, 0);
}

// A sequence of a key that floods is overdue, and would fit but for the blocks that are kept for
// newcomers. It gets them; kept back, they would be neither its nor theirs until the other key
// ends.
TEST(ScheduleShortSteps, BlocksForNewcomersShutNobodyOut) {
  ScheduleOptions options = ShortStepOptions();
  options.max_running = 4;
  Place place(options, 24);
  place.Add(1, "long", 520, 4000);  // 9 blocks
  place.Step();
  VictimComesAndGoes(&place);
  for (SequenceId id = 2; id <= 4; ++id) place.Add(id, "aggressor", 850, 1);  // 14 blocks each
  place.now = 9 * kSecond;
  place.Add(51, "victim", 32, 1);
  ASSERT_EQ(place.StepsUntilRowOf(51, 1), 1u);
  place.Step();
  ASSERT_EQ(place.schedule.Find(2)->state(), Sequence::State::kWaiting) << "not overdue yet";
  place.now = 11 * kSecond;
  place.Add(52, "victim", 32, 1);
  EXPECT_EQ(place.StepsUntilRowOf(52, 10), 1u);
  EXPECT_EQ(place.schedule.Find(2)->state(), Sequence::State::kRunning);
}

// The time of short steps is shared by turns as well: what one key has of it, another key's prompts
// that came later do not wait for.
TEST(ScheduleShortSteps, KeysWhosePromptsCanWaitTakeTurns) {
  Place place(ShortStepOptions());
  for (SequenceId id = 1; id <= 6; ++id) place.Add(id, "early", 4000, 1);
  place.Step();
  VictimComesAndGoes(&place);
  for (SequenceId id = 11; id <= 16; ++id) place.Add(id, "late", 4000, 1);
  const uint32_t begin = place.schedule.Find(1)->num_scheduled();
  for (int step = 0; step < 40; ++step) ASSERT_TRUE(place.Step().has_value());
  ASSERT_GT(place.schedule.counts().short_step_seconds, 0);
  const uint32_t early = place.schedule.Find(1)->num_scheduled() - begin;
  const uint32_t late = place.schedule.Find(11)->num_scheduled();
  EXPECT_GT(late, early / 2);
  EXPECT_GT(early, late / 2);
}

}  // namespace
}  // namespace baton::scheduler
