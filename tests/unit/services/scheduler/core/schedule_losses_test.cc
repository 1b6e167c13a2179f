// What becomes of sequences whose steps a stage or a link loses.
#include <vector>

#include "gtest/gtest.h"

#include "services/scheduler/core/schedule.h"
#include "tests/unit/services/scheduler/core/schedule_steps.h"

namespace baton::scheduler {
namespace {

TEST(ScheduleLosses, FailsWhatWasAloneAtTwoLosses) {
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

TEST(ScheduleLosses, FailsWhatTheLinkDoesNotCarry) {
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

TEST(ScheduleLosses, RunsAloneAfterFiveCutLinksUntilItHasAToken) {
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
TEST(ScheduleLosses, CutLinksMakeNoLostStageASecondOne) {
  Schedule schedule(MakeOptions());
  ASSERT_TRUE(schedule.Add(MakeRequest(1, 4, 9)).ok());
  for (int loss = 0; loss < 6; ++loss) {
    schedule.OpenEpoch(kManyBlocks);
    ASSERT_TRUE(schedule.NextBatch().has_value());
    const EpochEnd why = loss == 5 ? EpochEnd::kStageLost : EpochEnd::kLinkCut;
    EXPECT_TRUE(schedule.CloseEpoch(why).empty()) << loss;
  }
}

TEST(ScheduleLosses, ATokenBetweenTwoLossesClearsASequence) {
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

TEST(ScheduleLosses, RunsAloneAfterTwoLossesAndFailsAfterTheThird) {
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

}  // namespace
}  // namespace baton::scheduler
