#include "services/scheduler/core/schedule.h"

#include <random>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

ScheduleOptions MakeOptions() {
  ScheduleOptions options;
  options.max_model_len = 4096;
  options.vocab_size = 1024;
  options.eos_token_ids = {kEos};
  return options;
}

Schedule OpenSchedule(ScheduleOptions options, uint32_t num_blocks = kManyBlocks) {
  Schedule schedule(std::move(options));
  schedule.OpenEpoch(num_blocks);
  return schedule;
}

// Answers `batch` with `token` for every row that samples.
StepResult Answer(const Batch& batch, TokenId token = 7) {
  StepResult result{.step_id = batch.step_id};
  for (const BatchRow& row : batch.rows) {
    if (row.sample) result.tokens.push_back({row.id, row.begin + row.num_tokens, token});
  }
  return result;
}

std::vector<SequenceNews> RunStep(Schedule* schedule, TokenId token = 7) {
  std::optional<Batch> batch = schedule->NextBatch();
  if (!batch.has_value()) return {};
  return schedule->Complete(Answer(*batch, token)).value();
}

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

TEST(Schedule, FailsWhatWasAloneAtTwoLosses) {
  Schedule schedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4, 9)).ok());
  schedule.OpenEpoch(kManyBlocks);
  ASSERT_TRUE(schedule.NextBatch().has_value());
  EXPECT_TRUE(schedule.CloseEpoch().empty());
  schedule.OpenEpoch(kManyBlocks);
  ASSERT_TRUE(schedule.NextBatch().has_value());
  const std::vector<SequenceNews> news = schedule.CloseEpoch();
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(news[0].ending->cause, FinishCause::kFailed);
  EXPECT_EQ(schedule.Find(1), nullptr);
}

TEST(Schedule, FailsWhatTheLinkDoesNotCarry) {
  Schedule schedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4, 9)).ok());
  for (int cut = 0; cut < 5; ++cut) {
    schedule.OpenEpoch(kManyBlocks);
    ASSERT_TRUE(schedule.NextBatch().has_value());
    EXPECT_TRUE(schedule.CloseEpoch(EpochEnd::kLinkCut).empty()) << cut;
  }
  schedule.OpenEpoch(kManyBlocks);
  ASSERT_TRUE(schedule.NextBatch().has_value());
  const std::vector<SequenceNews> news = schedule.CloseEpoch(EpochEnd::kLinkCut);
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(news[0].ending->cause, FinishCause::kNotCarried);
  EXPECT_NE(news[0].ending->message.find("link"), std::string::npos) << news[0].ending->message;
  EXPECT_EQ(schedule.Find(1), nullptr);
}

TEST(Schedule, RunsAloneAfterFiveCutLinksUntilItHasAToken) {
  Schedule schedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4, 9)).ok());
  ASSERT_TRUE(schedule.Add(MakeRequest(2, 4, 9)).ok());
  for (int cut = 0; cut < 5; ++cut) {
    schedule.OpenEpoch(kManyBlocks);
    ASSERT_EQ(schedule.NextBatch()->rows.size(), 2u) << cut;
    EXPECT_EQ(schedule.num_suspects(), 0u);
    EXPECT_TRUE(schedule.CloseEpoch(EpochEnd::kLinkCut).empty());
  }
  EXPECT_EQ(schedule.num_suspects(), 2u);
  schedule.OpenEpoch(kManyBlocks);
  const Batch first = *schedule.NextBatch();
  ASSERT_EQ(first.rows.size(), 1u);
  EXPECT_EQ(first.rows[0].id, 1u);
  ASSERT_TRUE(schedule.Complete(Answer(first)).ok());
  EXPECT_EQ(schedule.num_suspects(), 1u);
  const Batch second = *schedule.NextBatch();
  ASSERT_EQ(second.rows.size(), 1u);
  EXPECT_EQ(second.rows[0].id, 2u);
  const std::vector<SequenceNews> news = schedule.CloseEpoch(EpochEnd::kLinkCut);
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(news[0].id, 2u);
  EXPECT_EQ(news[0].ending->cause, FinishCause::kNotCarried);
  schedule.OpenEpoch(kManyBlocks);
  EXPECT_EQ(schedule.NextBatch()->rows[0].id, 1u) << "it has a token";
  EXPECT_TRUE(schedule.CloseEpoch(EpochEnd::kLinkCut).empty());
}

// A stage that dies convicts only by its own count.
TEST(Schedule, CutLinksMakeNoLostStageASecondOne) {
  Schedule schedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4, 9)).ok());
  for (int loss = 0; loss < 6; ++loss) {
    schedule.OpenEpoch(kManyBlocks);
    ASSERT_TRUE(schedule.NextBatch().has_value());
    const EpochEnd why = loss == 5 ? EpochEnd::kStageLost : EpochEnd::kLinkCut;
    EXPECT_TRUE(schedule.CloseEpoch(why).empty()) << loss;
  }
}

TEST(Schedule, ATokenBetweenTwoLossesClearsASequence) {
  Schedule schedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4, 9)).ok());
  for (int loss = 0; loss < 5; ++loss) {
    schedule.OpenEpoch(kManyBlocks);
    const Batch batch = *schedule.NextBatch();
    ASSERT_TRUE(schedule.Complete(Answer(batch)).ok());
    ASSERT_TRUE(schedule.NextBatch().has_value());
    EXPECT_TRUE(schedule.CloseEpoch().empty());
  }
}

TEST(Schedule, RunsAloneAfterTwoLossesAndFailsAfterTheThird) {
  ScheduleOptions options = MakeOptions();
  options.max_steps_in_flight = 2;
  Schedule schedule(options);
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4, 9)).ok());
  ASSERT_TRUE(schedule.Add(MakeRequest(2, 4, 9)).ok());
  for (int loss = 0; loss < 2; ++loss) {
    schedule.OpenEpoch(kManyBlocks);
    ASSERT_TRUE(schedule.NextBatch().has_value());
    ASSERT_TRUE(schedule.NextBatch().has_value());
    EXPECT_TRUE(schedule.CloseEpoch().empty());
  }
  ASSERT_TRUE(schedule.Add(MakeRequest(3, 4, 9)).ok());
  // One after the other alone; a token clears the first of them.
  schedule.OpenEpoch(kManyBlocks);
  const Batch first = *schedule.NextBatch();
  ASSERT_EQ(first.rows.size(), 1u);
  EXPECT_EQ(first.rows[0].id, 1u);
  EXPECT_FALSE(schedule.NextBatch().has_value());
  ASSERT_TRUE(schedule.Complete(Answer(first)).ok());
  const Batch second = *schedule.NextBatch();
  ASSERT_EQ(second.rows.size(), 1u);
  EXPECT_EQ(second.rows[0].id, 2u);
  EXPECT_EQ(second.finished, std::vector<SequenceId>{1});
  const std::vector<SequenceNews> news = schedule.CloseEpoch();
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(news[0].id, 2u);
  EXPECT_EQ(news[0].ending->cause, FinishCause::kFailed);
  EXPECT_EQ(schedule.Find(2), nullptr);
  // The others share steps again.
  schedule.OpenEpoch(kManyBlocks);
  EXPECT_EQ(schedule.counts().num_waiting, 2u);
  ASSERT_TRUE(schedule.NextBatch().has_value());
  EXPECT_TRUE(schedule.NextBatch().has_value());
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

// One of them is the stage's: then the request may be as good as any.
TEST(Schedule, AStageThatFailedFirstIsNotExcusedByTheRequest) {
  Schedule schedule = OpenSchedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4)).ok());
  const Batch batch = *schedule.NextBatch();
  const StepResult result = {
      .step_id = batch.step_id,
      .faults = {{.id = 1, .message = "logits not finite"},
                 {.id = 1, .message = "no token can follow", .caused_by_request = true}}};
  EXPECT_EQ(schedule.Complete(result).value()[0].ending->cause, FinishCause::kFailed);
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
