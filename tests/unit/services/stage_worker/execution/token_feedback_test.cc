#include "services/stage_worker/execution/token_feedback.h"

#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

using testing::ElementsAre;

absl::Time Soon() { return absl::Now() + absl::Seconds(20); }

// Two rows: the first of sequence 7 and known, the second of `sequence_id` and fed back.
StepBatch Batch(uint64_t sequence_id, uint64_t step_id, int32_t draw = -1) {
  StepBatch batch;
  batch.token_ids = {5, 0};
  batch.fed_rows.push_back({1, sequence_id, step_id, draw});
  if (draw >= 0) batch.draws.resize(static_cast<size_t>(draw) + 1);
  for (DrawRow& row : batch.draws) row.answer_tokens = {8, 0};
  return batch;
}

TEST(TokenFeedback, FillsInWhatTheNamedStepSampled) {
  TokenFeedback feedback(4);
  feedback.Put(1, {{3, 10, 100}, {4, 20, 200}});
  feedback.Put(2, {{3, 11, 101}});
  EXPECT_THAT((*feedback.FillIn(Batch(4, 1), Soon()))->token_ids, ElementsAre(5, 200));
  EXPECT_THAT((*feedback.FillIn(Batch(3, 2), Soon()))->token_ids, ElementsAre(5, 101));
}

TEST(TokenFeedback, EndsTheHistoryOfTheDrawWithIt) {
  TokenFeedback feedback(4);
  feedback.Put(1, {{3, 10, 100}});
  const auto filled = *feedback.FillIn(Batch(3, 1, 1), Soon());
  EXPECT_THAT(filled->draws[0].answer_tokens, ElementsAre(8, 0));
  EXPECT_THAT(filled->draws[1].answer_tokens, ElementsAre(8, 100));
}

TEST(TokenFeedback, GivesARowOfAFailedSequenceTokenZero) {
  TokenFeedback feedback(4);
  feedback.Put(1, {});
  EXPECT_THAT((*feedback.FillIn(Batch(3, 1), Soon()))->token_ids, ElementsAre(5, 0));
}

TEST(TokenFeedback, WaitsForTheStep) {
  TokenFeedback feedback(4);
  EXPECT_TRUE(absl::IsDeadlineExceeded(feedback.FillIn(Batch(3, 1), absl::Now()).status()));
  std::thread device([&] { feedback.Put(1, {{3, 10, 100}}); });
  EXPECT_TRUE(feedback.FillIn(Batch(3, 1), Soon()).ok());
  device.join();
}

TEST(TokenFeedback, WakesWaitsWhenAborted) {
  TokenFeedback feedback(4);
  std::thread control([&] { feedback.Abort(absl::UnavailableError("the last stage is gone")); });
  EXPECT_TRUE(absl::IsUnavailable(feedback.FillIn(Batch(3, 1), Soon()).status()));
  control.join();
}

TEST(TokenFeedback, KeepsTheNewestStepsOnly) {
  TokenFeedback feedback(2);
  for (uint64_t step = 1; step <= 3; ++step) feedback.Put(step, {{3, 10, 100}});
  EXPECT_EQ(feedback.FillIn(Batch(3, 1), Soon()).status().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(feedback.FillIn(Batch(3, 2), Soon()).ok());
}

TEST(TokenFeedback, TellsEachTokenOnce) {
  TokenFeedback feedback(2);
  feedback.Put(1, {{3, 10, 100}});
  const std::vector<TokenFeedback::Token> news = feedback.TakeNew();
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(news[0].position, 10u);
  EXPECT_TRUE(feedback.TakeNew().empty());
}

}  // namespace
}  // namespace baton::stage
