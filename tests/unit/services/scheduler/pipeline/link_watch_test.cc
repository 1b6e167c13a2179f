#include "services/scheduler/pipeline/link_watch.h"

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(1);

MonotonicTime AtMillis(int millis) { return MonotonicTime() + absl::Milliseconds(millis); }

v1::Heartbeat Beat(StepId finished, uint32_t looked_ms = 0) {
  v1::Heartbeat heartbeat;
  heartbeat.set_step_id(finished);
  heartbeat.set_looked_ms(looked_ms);
  return heartbeat;
}

v1::Heartbeat WaitFor(v1::AwaitedFrames frames, StepId step_id, uint32_t waited_ms,
                      StepId finished = 0) {
  v1::Heartbeat heartbeat = Beat(finished);
  heartbeat.mutable_wait()->set_frames(frames);
  heartbeat.mutable_wait()->set_step_id(step_id);
  heartbeat.mutable_wait()->set_waited_ms(waited_ms);
  return heartbeat;
}

v1::Heartbeat WaitForStates(StepId step_id, uint32_t waited_ms) {
  return WaitFor(v1::AWAITED_FRAMES_HIDDEN_STATES, step_id, waited_ms);
}

TEST(LinkWatch, NamesTheLinkThatLosesAStepsHiddenStates) {
  LinkWatch watch(3, kLimit);
  watch.Finished(0, 7, AtMillis(0));
  watch.Finished(1, 7, AtMillis(10));
  watch.Heard(1, Beat(7), AtMillis(900));
  EXPECT_FALSE(watch.Heard(2, WaitForStates(7, 1000), AtMillis(1100)).has_value());
  const std::optional<std::string> cut = watch.Heard(2, WaitForStates(7, 1020), AtMillis(1110));
  ASSERT_TRUE(cut.has_value());
  EXPECT_EQ(*cut,
            "it has waited 1.02 s for the hidden states of step 7, which stage 1 sent: the link "
            "from stage 1 to stage 2 is cut, or slower than --least-link-rate of stage-workers "
            "says");
}

TEST(LinkWatch, AWaitCountsFromWhenTheStepWasSent) {
  LinkWatch watch(2, kLimit);
  watch.Heard(0, Beat(0), AtMillis(8000));
  EXPECT_FALSE(watch.Heard(1, WaitForStates(7, 8000), AtMillis(8000)).has_value()) << "not sent";
  watch.Finished(0, 6, AtMillis(8000));
  EXPECT_FALSE(watch.Heard(1, WaitForStates(7, 9500), AtMillis(9500)).has_value())
      << "only its fellow";
  watch.Finished(0, 7, AtMillis(9500));
  watch.Heard(0, Beat(7), AtMillis(10400));
  EXPECT_FALSE(watch.Heard(1, WaitForStates(7, 10400), AtMillis(10400)).has_value()) << "just now";
  EXPECT_TRUE(watch.Heard(1, WaitForStates(7, 10510), AtMillis(10510)).has_value());
}

// The listener took the heartbeat in late, or the message was long under way: the stage has not
// said that it waited all that time.
TEST(LinkWatch, CountsNoTimeThatTheStageDoesNotVouchFor) {
  LinkWatch watch(2, kLimit);
  watch.Finished(0, 7, AtMillis(0));
  watch.Heard(0, Beat(7), AtMillis(30000));
  EXPECT_FALSE(watch.Heard(1, WaitForStates(7, 400), AtMillis(30000)).has_value());
  EXPECT_FALSE(watch.Heard(1, Beat(6), AtMillis(31000)).has_value()) << "it computes";
}

TEST(LinkWatch, ASenderThatLacksAProcessorIsNoCutLink) {
  LinkWatch watch(2, kLimit);
  watch.Finished(0, 7, AtMillis(0));
  watch.Heard(0, Beat(7, /*looked_ms=*/900), AtMillis(1100));
  EXPECT_FALSE(watch.Heard(1, WaitForStates(7, 1100), AtMillis(1100)).has_value())
      << "looked at 200";
  watch.Heard(0, Beat(6), AtMillis(1200));
  EXPECT_FALSE(watch.Heard(1, WaitForStates(7, 1200), AtMillis(1200)).has_value())
      << "before it sent";
  watch.Heard(0, Beat(7), AtMillis(1300));
  EXPECT_TRUE(watch.Heard(1, WaitForStates(7, 1300), AtMillis(1300)).has_value());
  EXPECT_FALSE(watch.Heard(1, WaitForStates(7, 3000), AtMillis(3000)).has_value())
      << "it is silent now";
}

TEST(LinkWatch, TheFirstStageWaitsForTheLastOnesTokens) {
  LinkWatch watch(3, kLimit);
  watch.Finished(2, 5, AtMillis(0));
  watch.Heard(2, Beat(5), AtMillis(1000));
  const std::optional<std::string> cut =
      watch.Heard(0, WaitFor(v1::AWAITED_FRAMES_TOKENS, 5, 1050, 6), AtMillis(1050));
  ASSERT_TRUE(cut.has_value());
  EXPECT_NE(cut->find("from stage 2 to stage 0"), std::string::npos) << *cut;
  watch.Heard(1, Beat(6), AtMillis(1050));
  EXPECT_FALSE(
      watch.Heard(1, WaitFor(v1::AWAITED_FRAMES_TOKENS, 5, 1050), AtMillis(1050)).has_value())
      << "nobody sends it tokens";
}

// A stage keeps its slots while it has steps to compute.
TEST(LinkWatch, CreditIsDueOnceTheNextStageHasNoStepLeft) {
  LinkWatch watch(2, kLimit);
  watch.Finished(0, 4, AtMillis(0));
  watch.Finished(0, 5, AtMillis(1));
  watch.Finished(1, 4, AtMillis(2));
  watch.Heard(1, Beat(4), AtMillis(5000));
  const auto wait = [](uint32_t waited_ms) {
    return WaitFor(v1::AWAITED_FRAMES_CREDIT, 6, waited_ms, 5);
  };
  EXPECT_FALSE(watch.Heard(0, wait(5000), AtMillis(5000)).has_value());
  watch.Finished(1, 5, AtMillis(5100));
  watch.Heard(1, Beat(5), AtMillis(6000));
  EXPECT_FALSE(watch.Heard(0, wait(6100), AtMillis(6100)).has_value());
  EXPECT_TRUE(watch.Heard(0, wait(6150), AtMillis(6150)).has_value());
}

// What it sends are tokens, to the first stage.
TEST(LinkWatch, TheLastStageWaitsForLeaveOfTheFirst) {
  LinkWatch watch(3, kLimit);
  for (const StepId step : {4u, 5u}) {
    watch.Finished(0, step, AtMillis(static_cast<int>(step)));
    watch.Finished(1, step, AtMillis(static_cast<int>(step)));
  }
  watch.Finished(2, 4, AtMillis(10));
  const v1::Heartbeat wait = WaitFor(v1::AWAITED_FRAMES_CREDIT, 5, 1020, 4);
  watch.Heard(1, Beat(5), AtMillis(1000));
  EXPECT_FALSE(watch.Heard(2, wait, AtMillis(1030)).has_value()) << "stage 1 gives it no leave";
  watch.Heard(0, Beat(5), AtMillis(1000));
  EXPECT_FALSE(watch.Heard(2, WaitFor(v1::AWAITED_FRAMES_CREDIT, 5, 1000, 4), AtMillis(1010)));
  const std::optional<std::string> cut = watch.Heard(2, wait, AtMillis(1030));
  ASSERT_TRUE(cut.has_value());
  EXPECT_NE(cut->find("from stage 0 to stage 2 is cut"), std::string::npos) << *cut;
}

TEST(LinkWatch, OneStageHasNoLink) {
  LinkWatch watch(1, kLimit);
  watch.Finished(0, 7, AtMillis(0));
  for (const v1::AwaitedFrames frames :
       {v1::AWAITED_FRAMES_HIDDEN_STATES, v1::AWAITED_FRAMES_TOKENS, v1::AWAITED_FRAMES_CREDIT}) {
    EXPECT_FALSE(watch.Heard(0, WaitFor(frames, 7, 9000), AtMillis(9000)).has_value());
  }
}

TEST(LinkWatch, ForgivesWhatItSleptThrough) {
  LinkWatch watch(2, kLimit);
  watch.Finished(0, 7, AtMillis(0));
  watch.Forgive(AtMillis(5000));
  watch.Heard(0, Beat(7), AtMillis(5010));
  EXPECT_FALSE(watch.Heard(1, WaitForStates(7, 5010), AtMillis(5010)).has_value());
  watch.Heard(0, Beat(7), AtMillis(6010));
  EXPECT_TRUE(watch.Heard(1, WaitForStates(7, 6010), AtMillis(6010)).has_value());
}

TEST(LinkWatch, ANewEpochForgetsTheOld) {
  LinkWatch watch(2, kLimit);
  watch.Finished(0, 7, AtMillis(0));
  watch.Heard(0, Beat(7), AtMillis(1100));
  watch.Reset();
  EXPECT_FALSE(watch.Heard(1, WaitForStates(7, 1100), AtMillis(1100)).has_value());
}

}  // namespace
}  // namespace baton::scheduler
