#include "services/stage_worker/execution/token_reader.h"

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/fakes/token_pipe.h"

namespace baton::stage {
namespace {

using testing::ElementsAre;

class TokenReaderTest : public testing::Test {
 protected:
  static StepBatch Step(uint64_t step_id, const std::vector<uint64_t>& drawn) {
    StepBatch batch;
    batch.epoch = 1;
    batch.step_id = step_id;
    for (uint64_t id : drawn) batch.draws.push_back({.sequence_id = id, .position = 9});
    return batch;
  }
  void Send(uint64_t step_id, const std::vector<uint32_t>& tokens) {
    ASSERT_TRUE(pipe_.Send({1, step_id}, tokens, absl::InfiniteFuture()).ok());
  }
  uint32_t TokenOf(uint64_t sequence_id, uint64_t step_id) {
    StepBatch batch;
    batch.token_ids = {0};
    batch.fed_rows.push_back({0, sequence_id, step_id, -1});
    const auto filled = feedback_.FillIn(batch, absl::Now());
    return filled.ok() ? (*filled)->token_ids[0] : kNoToken;
  }

  fakes::TokenPipe pipe_;
  TokenFeedback feedback_{8};
  TokenReader reader_{&pipe_, &feedback_, 1000};
};

TEST_F(TokenReaderTest, GivesTokensToTheSequencesThatDrew) {
  reader_.Expect(Step(1, {3, 4, 5}));
  Send(1, {30, kNoToken, 50});
  ASSERT_TRUE(reader_.TakeUpTo(1, absl::Now()).ok());
  EXPECT_EQ(TokenOf(3, 1), 30u);
  EXPECT_EQ(TokenOf(4, 1), 0u);  // it failed
  EXPECT_EQ(TokenOf(5, 1), 50u);
}

TEST_F(TokenReaderTest, TakesInOlderStepsThatNobodyNeeds) {
  for (uint64_t step = 1; step <= 3; ++step) reader_.Expect(Step(step, {3}));
  for (uint64_t step = 1; step <= 3; ++step) Send(step, {30});
  ASSERT_TRUE(reader_.TakeUpTo(2, absl::Now()).ok());
  EXPECT_EQ(pipe_.num_held(), 1);
  ASSERT_TRUE(reader_.TakeUpTo(3, absl::Now()).ok());
  EXPECT_EQ(pipe_.num_held(), 0);
}

TEST_F(TokenReaderTest, ExpectsNothingOfAStepWithoutDraws) {
  reader_.Expect(Step(1, {}));
  EXPECT_TRUE(reader_.TakeUpTo(1, absl::Now()).ok());
}

TEST_F(TokenReaderTest, RefusesATokenOutsideTheVocabulary) {
  reader_.Expect(Step(1, {3}));
  Send(1, {1000});
  EXPECT_TRUE(absl::IsDataLoss(reader_.TakeUpTo(1, absl::Now())));
}

TEST_F(TokenReaderTest, SaysWhatFailed) {
  reader_.Expect(Step(1, {3}));
  EXPECT_TRUE(absl::IsDeadlineExceeded(reader_.TakeUpTo(1, absl::Now())));
  pipe_.Cancel();
  reader_.Expect(Step(2, {3}));
  EXPECT_TRUE(absl::IsCancelled(reader_.TakeUpTo(2, absl::Now())));
}

}  // namespace
}  // namespace baton::stage
