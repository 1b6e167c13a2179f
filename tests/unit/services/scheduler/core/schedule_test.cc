#include "services/scheduler/core/schedule.h"

#include <random>
#include <utility>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/schedule_steps.h"

namespace baton::scheduler {
namespace {

TEST(Schedule, RefusesWhatCanNeverFit) {
  Schedule schedule = OpenSchedule(MakeOptions(), 2);
  EXPECT_TRUE(absl::IsInvalidArgument(schedule.Add(MakeRequest(1, 0)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(schedule.Add(MakeRequest(1, 128)).status()));
  EXPECT_TRUE(schedule.Add(MakeRequest(1, 127)).ok());
  SequenceRequest unknown_token = MakeRequest(2, 1);
  unknown_token.prompt[0] = 1024;
  EXPECT_TRUE(absl::IsInvalidArgument(schedule.Add(unknown_token).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(schedule.Add(MakeRequest(3, 4, 0)).status()));
}

TEST(Schedule, RefusesNewcomersPastTheQueueBound) {
  ScheduleOptions options = MakeOptions();
  options.max_waiting = 2;
  Schedule schedule(options);
  EXPECT_TRUE(schedule.Add(MakeRequest(1, 4)).ok());
  EXPECT_TRUE(schedule.Add(MakeRequest(2, 4)).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(schedule.Add(MakeRequest(3, 4)).status()));
}

TEST(Schedule, TakesResumedSequencesPastTheQueueBound) {
  ScheduleOptions options = MakeOptions();
  options.max_waiting = 1;
  Schedule schedule(options);
  EXPECT_TRUE(schedule.Add(MakeRequest(1, 4)).ok());
  SequenceRequest resumed = MakeRequest(2, 4, 9);
  resumed.resumed = {5};
  EXPECT_TRUE(schedule.Add(resumed).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(schedule.Add(MakeRequest(3, 4)).status()));
}

TEST(Schedule, RunsPromptThenTokensThenRelease) {
  Schedule schedule = OpenSchedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 70, 2)).ok());
  Batch prefill = *schedule.NextBatch();
  ASSERT_EQ(prefill.rows.size(), 1u);
  EXPECT_TRUE(prefill.rows[0].begins && prefill.rows[0].sample);
  EXPECT_EQ(prefill.rows[0].num_tokens, 70u);
  EXPECT_EQ(prefill.rows[0].new_blocks.size(), 2u);
  EXPECT_FALSE(schedule.NextBatch().has_value());
  auto news = schedule.Complete(Answer(prefill, 42)).value();
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(news[0].token, 42u);
  EXPECT_FALSE(news[0].ending.has_value());

  Batch decode = *schedule.NextBatch();
  EXPECT_FALSE(decode.rows[0].begins);
  EXPECT_EQ(decode.rows[0].begin, 70u);
  EXPECT_EQ(decode.rows[0].appended, (std::vector<TokenId>{42}));
  news = schedule.Complete(Answer(decode)).value();
  EXPECT_EQ(news[0].ending->cause, FinishCause::kLength);

  const Batch release = *schedule.NextBatch();
  EXPECT_TRUE(release.rows.empty());
  EXPECT_EQ(release.finished, (std::vector<SequenceId>{1}));
  EXPECT_TRUE(schedule.Complete({.step_id = release.step_id}).ok());
  EXPECT_FALSE(schedule.NextBatch().has_value());
  EXPECT_TRUE(schedule.idle());
  EXPECT_EQ(schedule.counts().num_used_blocks, 0u);
}

TEST(Schedule, SpendsTheBudgetOnDecodesFirst) {
  ScheduleOptions options = MakeOptions();
  options.max_step_tokens = 8;
  Schedule schedule = OpenSchedule(options);
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4)).ok());
  RunStep(&schedule);
  ASSERT_TRUE(schedule.Add(MakeRequest(2, 20)).ok());
  const Batch mixed = *schedule.NextBatch();
  ASSERT_EQ(mixed.rows.size(), 2u);
  EXPECT_EQ(mixed.rows[0].id, 1u);
  EXPECT_EQ(mixed.rows[1].num_tokens, 7u);
  EXPECT_FALSE(mixed.rows[1].sample);
}

TEST(Schedule, KeepsSeveralChunksOfOnePromptInFlight) {
  ScheduleOptions options = MakeOptions();
  options.max_step_tokens = 8;
  options.max_steps_in_flight = 2;
  Schedule schedule = OpenSchedule(options);
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 20)).ok());
  const Batch first = *schedule.NextBatch();
  const Batch second = *schedule.NextBatch();
  EXPECT_EQ(second.rows[0].begin, 8u);
  EXPECT_FALSE(schedule.NextBatch().has_value());
  EXPECT_TRUE(schedule.Complete(Answer(first)).value().empty());
  EXPECT_TRUE(schedule.NextBatch()->rows[0].sample);
}

TEST(Schedule, SpreadsSequencesOverStepsInFlight) {
  ScheduleOptions options = MakeOptions();
  options.max_steps_in_flight = 2;
  Schedule schedule = OpenSchedule(options);
  for (SequenceId id = 1; id <= 6; ++id) ASSERT_TRUE(schedule.Add(MakeRequest(id, 4)).ok());
  EXPECT_EQ(schedule.NextBatch()->rows.size(), 3u);
  EXPECT_EQ(schedule.NextBatch()->rows.size(), 3u);
}

TEST(Schedule, PreemptsTheLatestArrivalWhenBlocksRunOut) {
  Schedule schedule = OpenSchedule(MakeOptions(), 4);
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 126, 100)).ok());
  ASSERT_TRUE(schedule.Add(MakeRequest(2, 126, 100)).ok());
  RunStep(&schedule);  // both prompts; 126 tokens in two blocks each
  for (int i = 0; i < 2; ++i) RunStep(&schedule);
  const Batch batch = *schedule.NextBatch();  // position 128 needs a third block
  ASSERT_EQ(batch.rows.size(), 1u);
  EXPECT_EQ(batch.rows[0].id, 1u);
  EXPECT_EQ(batch.finished, (std::vector<SequenceId>{2}));
  EXPECT_EQ(schedule.counts().num_preemptions, 1u);
  EXPECT_EQ(schedule.counts().num_waiting, 1u);
  ASSERT_TRUE(schedule.Complete(Answer(batch)).ok());

  ASSERT_TRUE(schedule.Cancel(1));
  const Batch again = *schedule.NextBatch();  // told to forget 1, blocks enough for 2
  ASSERT_EQ(again.rows.size(), 1u);
  EXPECT_TRUE(again.rows[0].begins);
  EXPECT_EQ(again.rows[0].begin, 64u);  // its first block; the other was needed
  EXPECT_EQ(again.rows[0].num_tokens, 65u);
}

TEST(Schedule, EndsACancelledSequenceOnceItsStepIsDone) {
  Schedule schedule = OpenSchedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4)).ok());
  const Batch batch = *schedule.NextBatch();
  EXPECT_TRUE(schedule.Cancel(1));
  EXPECT_FALSE(schedule.Cancel(1));
  EXPECT_EQ(schedule.counts().num_used_blocks, 1u);
  EXPECT_TRUE(schedule.Complete(Answer(batch)).value().empty());
  EXPECT_EQ(schedule.counts().num_used_blocks, 0u);
  EXPECT_EQ(schedule.NextBatch()->finished, (std::vector<SequenceId>{1}));
}

TEST(Schedule, CancelsAWaitingSequenceWithoutAStep) {
  Schedule schedule = OpenSchedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4)).ok());
  EXPECT_TRUE(schedule.Cancel(1));
  EXPECT_FALSE(schedule.NextBatch().has_value());
}

TEST(Schedule, KeepsSequencesOverAnEpoch) {
  Schedule schedule = OpenSchedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4)).ok());
  RunStep(&schedule, 42);
  ASSERT_TRUE(schedule.NextBatch().has_value());
  schedule.CloseEpoch();
  EXPECT_FALSE(schedule.NextBatch().has_value());
  EXPECT_TRUE(schedule.OpenEpoch(kManyBlocks).empty());
  const Batch again = *schedule.NextBatch();
  EXPECT_EQ(again.step_id, 1u);
  EXPECT_TRUE(again.rows[0].begins);
  EXPECT_EQ(again.rows[0].num_tokens, 5u);
  EXPECT_EQ(schedule.Find(1)->tokens().back(), 42u);
}

TEST(Schedule, EndsWhatASmallerCacheCannotHold) {
  Schedule schedule = OpenSchedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 100)).ok());
  ASSERT_TRUE(schedule.Add(MakeRequest(2, 63)).ok());
  RunStep(&schedule);
  ASSERT_TRUE(schedule.Add(MakeRequest(3, 64)).ok());
  schedule.CloseEpoch();
  const auto news = schedule.OpenEpoch(1);
  ASSERT_EQ(news.size(), 3u);
  EXPECT_EQ(news[0].ending->cause, FinishCause::kLength);
  EXPECT_EQ(news[1].ending->cause, FinishCause::kLength);
  EXPECT_EQ(news[2].ending->cause, FinishCause::kInvalid);
  EXPECT_TRUE(schedule.LiveIds().empty());
}

TEST(Schedule, EndsAFaultySequenceAndKeepsItsNeighbour) {
  Schedule schedule = OpenSchedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4)).ok());
  ASSERT_TRUE(schedule.Add(MakeRequest(2, 4)).ok());
  const Batch batch = *schedule.NextBatch();
  StepResult result = Answer(batch);
  result.tokens.erase(result.tokens.begin());
  result.faults.push_back({1, "logits not finite"});
  const auto news = schedule.Complete(result).value();
  ASSERT_EQ(news.size(), 2u);
  EXPECT_EQ(news[0].ending->cause, FinishCause::kFailed);
  EXPECT_EQ(news[0].ending->message, "logits not finite");
  EXPECT_TRUE(news[1].token.has_value());
}

TEST(Schedule, AFaultThatTheRequestCausedIsTheRequests) {
  Schedule schedule = OpenSchedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4)).ok());
  const Batch batch = *schedule.NextBatch();
  const StepResult result = {
      .step_id = batch.step_id,
      .faults = {{.id = 1, .message = "no token can follow", .caused_by_request = true}}};
  const auto news = schedule.Complete(result).value();
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(news[0].ending->cause, FinishCause::kInvalid);
  EXPECT_EQ(news[0].ending->message, "no token can follow");
  EXPECT_TRUE(schedule.LiveIds().empty());
}

TEST(Schedule, AFaultThatOthersCausedIsNobodys) {
  Schedule schedule = OpenSchedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4)).ok());
  const StepResult result = {
      .step_id = schedule.NextBatch()->step_id,
      .faults = {{.id = 1, .message = "no room for the constraint", .overloaded = true}}};
  const auto news = schedule.Complete(result).value();
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(news[0].ending->cause, FinishCause::kOverloaded);
  EXPECT_EQ(news[0].ending->message, "no room for the constraint");
  EXPECT_TRUE(schedule.LiveIds().empty());
}

// What it computed is as good as any.
TEST(Schedule, OnlyAStageThatFailedIsDistrusted) {
  for (const bool overloaded : {true, false}) {
    Schedule schedule = OpenSchedule(MakeOptions());
    ASSERT_TRUE(schedule.Add(MakeRequest(1, 200)).ok());
    Batch batch = *schedule.NextBatch();
    while (!batch.rows.back().sample) {
      ASSERT_TRUE(schedule.Complete(Answer(batch)).ok());
      batch = *schedule.NextBatch();
    }
    const StepResult result = {
        .step_id = batch.step_id,
        .faults = {{.id = 1, .message = "no token", .overloaded = overloaded}}};
    ASSERT_TRUE(schedule.Complete(result).ok());
    SequenceRequest again = MakeRequest(1, 200);
    again.id = 2;
    ASSERT_TRUE(schedule.Add(again).ok());
    schedule.NextBatch();
    const uint64_t num_found = schedule.counts().prefix_lookups.num_hit_tokens;
    EXPECT_EQ(num_found > 0, overloaded);
  }
}

// One of them is the stage's: then the request may be as good as any.
TEST(Schedule, AStageThatFailedIsNotExcusedByTheRequest) {
  const StepResult::Fault of_stage = {.id = 1, .message = "logits not finite"};
  const StepResult::Fault of_request = {
      .id = 1, .message = "no token can follow", .caused_by_request = true};
  for (const bool stage_is_first : {true, false}) {
    Schedule schedule = OpenSchedule(MakeOptions());
    ASSERT_TRUE(schedule.Add(MakeRequest(1, 4)).ok());
    StepResult result = {.step_id = schedule.NextBatch()->step_id,
                         .faults = {of_stage, of_request}};
    if (!stage_is_first) std::swap(result.faults[0], result.faults[1]);
    const auto news = schedule.Complete(result).value();
    EXPECT_EQ(news[0].ending->cause, FinishCause::kFailed);
    EXPECT_EQ(news[0].ending->message, "logits not finite");
  }
}

TEST(Schedule, RefusesResultsThatDoNotAnswerTheStep) {
  Schedule schedule = OpenSchedule(MakeOptions());
  EXPECT_TRUE(absl::IsDataLoss(schedule.Complete({.step_id = 1}).status()));
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4)).ok());
  const Batch batch = *schedule.NextBatch();
  EXPECT_TRUE(absl::IsDataLoss(schedule.Complete({.step_id = 2}).status()));
  EXPECT_TRUE(absl::IsDataLoss(schedule.Complete({.step_id = 1}).status()));
  StepResult wrong_position = Answer(batch);
  wrong_position.tokens[0].position = 3;
  EXPECT_TRUE(absl::IsDataLoss(schedule.Complete(wrong_position).status()));
  EXPECT_TRUE(absl::IsDataLoss(schedule.Complete(Answer(batch, 1024)).status()));
  StepResult extra = Answer(batch);
  extra.tokens.push_back({9, 4, 5});
  EXPECT_TRUE(absl::IsDataLoss(schedule.Complete(extra).status()));
  EXPECT_TRUE(schedule.Complete(Answer(batch)).ok());
}

TEST(Schedule, LetsSequencesBeginInOrderOfArrival) {
  ScheduleOptions options = MakeOptions();
  options.max_step_tokens = 64;
  options.max_running = 6;
  Schedule schedule = OpenSchedule(options, 12);
  std::mt19937 random(3);
  SequenceId next_id = 1;
  SequenceId last_begun = 0;
  while (last_begun < 300) {
    while (schedule.counts().num_waiting < 5) {
      ASSERT_TRUE(schedule.Add(MakeRequest(next_id++, 1 + random() % 300, 40)).ok());
    }
    const Batch batch = *schedule.NextBatch();
    ASSERT_LE(batch.num_tokens(), 64u);
    for (const BatchRow& row : batch.rows) {
      if (!row.begins || row.id <= last_begun) continue;  // the others come back
      ASSERT_EQ(row.id, last_begun + 1);
      last_begun = row.id;
    }
    ASSERT_TRUE(schedule.Complete(Answer(batch)).ok());
  }
  EXPECT_GT(schedule.counts().num_preemptions, 0u);
}

TEST(Schedule, GoesOnAfterResumedTokens) {
  Schedule schedule = OpenSchedule(MakeOptions());
  SequenceRequest request = MakeRequest(1, 4, 3);
  request.resumed = {10, 11};
  ASSERT_FALSE(schedule.Add(request).value().has_value());
  EXPECT_EQ(schedule.NextBatch()->rows[0].num_tokens, 6u);
  request.id = 2;
  request.resumed = {10, 11, 12};
  EXPECT_EQ(schedule.Add(request).value()->cause, FinishCause::kLength);
  request.resumed = {10, kEos};
  EXPECT_EQ(schedule.Add(request).value()->cause, FinishCause::kStop);
}

}  // namespace
}  // namespace baton::scheduler
