#include "services/scheduler/core/sequence.h"

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

TEST(Sequence, JoinsPromptAndResumedTokens) {
  SequenceRequest request = MakeRequest(1, 3);
  request.resumed = {8, 9};
  const Sequence sequence(request, 0);
  EXPECT_EQ(sequence.num_tokens(), 5u);
  EXPECT_EQ(sequence.num_prompt_tokens(), 3u);
  EXPECT_EQ(sequence.num_generated(), 2u);
  EXPECT_EQ(sequence.tokens().back(), 9u);
}

TEST(Sequence, DecodesOnceAllButTheNewestTokenIsComputed) {
  Sequence sequence(MakeRequest(1, 10), 0);
  sequence.set_state(Sequence::State::kRunning);
  EXPECT_FALSE(sequence.decoding());
  sequence.Advance(6, 1);
  sequence.Advance(4, 2);
  EXPECT_FALSE(sequence.runnable());
  EXPECT_EQ(sequence.num_steps_in_flight(), 2u);
  sequence.FinishStep();
  sequence.FinishStep();
  sequence.AppendToken(5);
  EXPECT_TRUE(sequence.runnable());
  EXPECT_TRUE(sequence.decoding());
  EXPECT_EQ(sequence.num_told(), 10u);
}

TEST(Sequence, HasOnePendingTokenAtMost) {
  Sequence sequence(MakeRequest(1, 10), 0);
  sequence.set_state(Sequence::State::kRunning);
  sequence.Advance(6, 1);
  EXPECT_EQ(sequence.feedback_step(), 0u);
  sequence.Advance(4, 2);
  EXPECT_EQ(sequence.feedback_step(), 2u);
  sequence.AdvancePending(3);
  EXPECT_EQ(sequence.num_scheduled(), 11u);
  EXPECT_EQ(sequence.num_to_compute(), 0u);
  EXPECT_EQ(sequence.feedback_step(), 0u);
  sequence.FinishStep();
  sequence.FinishStep();
  sequence.AppendToken(5);
  EXPECT_EQ(sequence.feedback_step(), 3u);
  EXPECT_FALSE(sequence.runnable());
  EXPECT_EQ(sequence.num_told(), 11u);
  sequence.FinishStep();
  sequence.AppendToken(6);
  EXPECT_EQ(sequence.feedback_step(), 0u);
  EXPECT_TRUE(sequence.decoding() && sequence.runnable());
}

TEST(Sequence, RestartKeepsTokensAndForgetsProgress) {
  Sequence sequence(MakeRequest(1, 4), 0);
  sequence.Advance(4, 3);
  sequence.AppendToken(7);
  sequence.Advance(1, 4);
  sequence.set_state(Sequence::State::kRunning);
  sequence.AdvancePending(5);
  sequence.Restart();
  EXPECT_EQ(sequence.num_tokens(), 5u);
  EXPECT_EQ(sequence.num_to_compute(), 5u);
  EXPECT_EQ(sequence.num_told(), 0u);
  EXPECT_EQ(sequence.feedback_step(), 0u);
  EXPECT_EQ(sequence.num_steps_in_flight(), 0u);
}

TEST(Sequence, IsServedByPriorityThenArrival) {
  SequenceRequest urgent = MakeRequest(3, 1);
  urgent.priority = -1;
  const Sequence first(MakeRequest(1, 1), 0);
  const Sequence second(MakeRequest(2, 1), 1);
  const Sequence third(urgent, 2);
  EXPECT_TRUE(ServedBefore()(&first, &second));
  EXPECT_TRUE(ServedBefore()(&third, &first));
}

}  // namespace
}  // namespace baton::scheduler
