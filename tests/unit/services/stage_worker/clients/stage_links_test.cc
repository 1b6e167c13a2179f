#include "services/stage_worker/clients/stage_links.h"

#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/concurrency/steady_time.h"
#include "tests/fakes/wedged_transport.h"

namespace baton::stage {
namespace {

using fakes::WedgedPeer;
using fakes::WedgedTransport;
using testing::ElementsAre;

absl::Time LinksDeadline() { return absl::Now() + absl::Seconds(20); }

// The last stage takes hidden states from the first and sends it tokens, over one connection.
class LastStageLinks : public testing::Test {
 protected:
  LastStageLinks()
      : links_(*StageLinks::Create(
            &transport_,
            {.has_previous = true, .num_ranks = 1, .part_columns = 8, .max_step_tokens = 4},
            {.sends = true, .max_step_sequences = 4})) {
    transport_.when_connecting = [this] {
      events_.emplace_back("connect");
      if (!transport_.peer->status().ok()) transport_.peer = std::make_shared<WedgedPeer>();
    };
  }

  absl::Status Begin(uint64_t epoch) {
    return links_->BeginEpoch(
        {.local_epoch = epoch, .frame_epoch = epoch, .first_address = "wedged"}, LinksDeadline());
  }

  WedgedTransport transport_;
  std::vector<std::string> events_;
  const std::unique_ptr<StageLinks> links_;
};

TEST_F(LastStageLinks, EndTheOldEpochEverywhereBeforeTheyConnectForTheNext) {
  ASSERT_TRUE(Begin(1).ok());
  // Hidden states are on their way into a slot when the epoch ends, and their sender hangs.
  const FrameHeader header = {.kind = FrameKind::kHiddenState,
                              .source = WedgedPeer::kSource,
                              .epoch = 1,
                              .stream_id = 1,
                              .sequence = 1,
                              .total_bytes = 16,
                              .payload_bytes = 16};
  FrameReceiver* states = transport_.receivers[FrameKind::kHiddenState];
  ASSERT_TRUE(states->Accept(header).ok());
  transport_.peer->when_failed = [&] {
    events_.emplace_back("cut off");
    states->Complete(header, absl::UnavailableError("cut off"));
  };

  EXPECT_TRUE(Begin(2).ok());
  EXPECT_THAT(events_, ElementsAre("connect", "cut off", "connect"));
  EXPECT_TRUE(transport_.peer->status().ok()) << "the new connection was broken";
  EXPECT_TRUE(links_->tokens().Send({2, 1}, std::vector<uint32_t>{7}, LinksDeadline()).ok());
  EXPECT_EQ(transport_.peer->num_sends(), 1u);
  transport_.peer->FinishSends();
}

TEST(StageLinks, BeginNoEpochWhileDevicesOfAnOlderOneAreServed) {
  WedgedTransport transport;
  const auto link = *StageLink::Create(
      &transport, {.has_previous = true, .num_ranks = 1, .part_columns = 8, .max_step_tokens = 4});
  ASSERT_TRUE(link->BeginEpoch({.local_epoch = 1, .frame_epoch = 1}, LinksDeadline()).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      link->BeginEpoch({.local_epoch = 2, .frame_epoch = 2}, LinksDeadline())));
  ASSERT_TRUE(link->EndEpoch(LinksDeadline()).ok());
  EXPECT_TRUE(link->BeginEpoch({.local_epoch = 2, .frame_epoch = 2}, LinksDeadline()).ok());
}

// A thread that waits runs again some time after what it waits for has come: until then its device
// says that it waits.
class LateDevice : public testing::Test {
 protected:
  LateDevice() : asked_(SteadyNow()) {}

  static NeighbourWait WaitFor(AwaitedFrames frames, uint64_t step_id, absl::Time since) {
    return {.frames = frames, .step_id = step_id, .since = since};
  }
  static FrameHeader PartOf(FrameKind kind, uint64_t number, uint64_t step_id, uint32_t rank) {
    return {.kind = kind,
            .source = WedgedPeer::kSource,
            .epoch = 1,
            .stream_id = step_id,
            .sequence = number,
            .offset = rank * 16,
            .total_bytes = 32,
            .payload_bytes = 16,
            .rank = rank,
            .slot = static_cast<uint32_t>(number % 2)};
  }
  void TellCredit(FrameKind kind, uint64_t last) {
    const FrameHeader credit = {
        .kind = kind, .source = WedgedPeer::kSource, .epoch = 1, .sequence = last};
    ASSERT_TRUE(transport_.receivers[kind]->Accept(credit).ok());
    transport_.receivers[kind]->Complete(credit, absl::OkStatus());
  }

  WedgedTransport transport_;
  const absl::Time asked_;
};

TEST_F(LateDevice, WaitsForNoHiddenStatesThatHaveCome) {
  const auto links = *StageLinks::Create(&transport_,
                                         {.has_previous = true,
                                          .num_ranks = 2,
                                          .part_columns = 8,
                                          .max_step_tokens = 1,
                                          .max_steps_in_flight = 2},
                                         {});
  ASSERT_TRUE(links->BeginEpoch({.local_epoch = 1, .frame_epoch = 1}, LinksDeadline()).ok());
  const std::vector<NeighbourWait> waits = {WaitFor(AwaitedFrames::kHiddenStates, 3, asked_)};
  EXPECT_FALSE(links->OldestOf(waits).has_value()) << "it has not asked";
  ASSERT_TRUE(
      absl::IsDeadlineExceeded(links->states().Receive({1, 3, 0}, 1, absl::Now()).status()));
  ASSERT_TRUE(links->OldestOf(waits).has_value());
  EXPECT_EQ(links->OldestOf(waits)->since, asked_);

  FrameReceiver* states = transport_.receivers[FrameKind::kHiddenState];
  for (const uint32_t rank : {0u, 1u}) {
    const FrameHeader part = PartOf(FrameKind::kHiddenState, 1, 3, rank);
    ASSERT_TRUE(states->Accept(part).ok());
    ASSERT_TRUE(links->OldestOf(waits).has_value()) << "the part of rank " << rank << " is landing";
    EXPECT_GT(links->OldestOf(waits)->since, asked_);
    states->Complete(part, absl::OkStatus());
  }
  EXPECT_FALSE(links->OldestOf(waits).has_value());
  // Another device is at the next step, of which nothing has come.
  ASSERT_TRUE(
      absl::IsDeadlineExceeded(links->states().Receive({1, 4, 1}, 1, absl::Now()).status()));
  const auto next = links->OldestOf({waits[0], WaitFor(AwaitedFrames::kHiddenStates, 4, asked_)});
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->step_id, 4u);
}

TEST_F(LateDevice, WaitsForNothingOnceItsWaitsHaveBeenEnded) {
  const auto links = *StageLinks::Create(
      &transport_, {.has_previous = true, .num_ranks = 1, .part_columns = 8, .max_step_tokens = 1},
      {});
  ASSERT_TRUE(links->BeginEpoch({.local_epoch = 1, .frame_epoch = 1}, LinksDeadline()).ok());
  ASSERT_TRUE(
      absl::IsDeadlineExceeded(links->states().Receive({1, 1, 0}, 1, absl::Now()).status()));
  const std::vector<NeighbourWait> waits = {WaitFor(AwaitedFrames::kHiddenStates, 1, asked_)};
  EXPECT_TRUE(links->OldestOf(waits).has_value());
  links->Abort(absl::CancelledError("the epoch has ended"));
  EXPECT_FALSE(links->OldestOf(waits).has_value());
}

TEST_F(LateDevice, WaitsForNoTokensThatHaveCome) {
  const auto links =
      *StageLinks::Create(&transport_, {.num_ranks = 1, .part_columns = 8, .max_step_tokens = 1},
                          {.receives = true, .max_step_sequences = 4});
  ASSERT_TRUE(links->BeginEpoch({.local_epoch = 1, .frame_epoch = 1}, LinksDeadline()).ok());
  const std::vector<NeighbourWait> waits = {WaitFor(AwaitedFrames::kTokens, 3, asked_)};
  EXPECT_FALSE(links->OldestOf(waits).has_value()) << "it has not asked";
  ASSERT_TRUE(absl::IsDeadlineExceeded(links->tokens().Receive({1, 3}, 2, absl::Now()).status()));
  ASSERT_TRUE(links->OldestOf(waits).has_value());
  FrameHeader tokens = PartOf(FrameKind::kTokens, 1, 3, 0);
  tokens.total_bytes = tokens.payload_bytes = 8;
  ASSERT_TRUE(transport_.receivers[FrameKind::kTokens]->Accept(tokens).ok());
  EXPECT_TRUE(links->OldestOf(waits).has_value());
  transport_.receivers[FrameKind::kTokens]->Complete(tokens, absl::OkStatus());
  EXPECT_FALSE(links->OldestOf(waits).has_value());
}

TEST_F(LateDevice, WaitsForNoCreditThatHasCome) {
  const auto links = *StageLinks::Create(
      &transport_, {.has_next = true, .num_ranks = 1, .part_columns = 8, .max_step_tokens = 1}, {});
  ASSERT_TRUE(links
                  ->BeginEpoch({.local_epoch = 1, .frame_epoch = 1, .next_addresses = {"wedged"}},
                               LinksDeadline())
                  .ok());
  ASSERT_TRUE(links->states().Acquire({1, 1, 0}, 1, LinksDeadline()).ok());
  ASSERT_TRUE(links->states().Send({1, 1, 0}).ok());
  transport_.peer->FinishSends(absl::OkStatus());
  const std::vector<NeighbourWait> waits = {WaitFor(AwaitedFrames::kCredit, 2, asked_)};
  EXPECT_FALSE(links->OldestOf(waits).has_value()) << "it has not asked";
  ASSERT_TRUE(
      absl::IsDeadlineExceeded(links->states().Acquire({1, 2, 0}, 1, absl::Now()).status()));
  EXPECT_TRUE(links->OldestOf(waits).has_value());
  TellCredit(FrameKind::kCredit, 2);
  EXPECT_FALSE(links->OldestOf(waits).has_value());
}

TEST_F(LateDevice, WaitsForNoCreditForTokensThatHasCome) {
  const auto links =
      *StageLinks::Create(&transport_, {.num_ranks = 1, .part_columns = 8, .max_step_tokens = 1},
                          {.sends = true, .max_step_sequences = 4, .max_steps_in_flight = 1});
  ASSERT_TRUE(links
                  ->BeginEpoch({.local_epoch = 1, .frame_epoch = 1, .first_address = "wedged"},
                               LinksDeadline())
                  .ok());
  const std::vector<uint32_t> token = {7};
  for (const uint64_t step_id : {1u, 2u}) {
    ASSERT_TRUE(links->tokens().Send({1, step_id}, token, LinksDeadline()).ok());
  }
  transport_.peer->FinishSends(absl::OkStatus());
  const std::vector<NeighbourWait> waits = {WaitFor(AwaitedFrames::kCredit, 3, asked_)};
  EXPECT_FALSE(links->OldestOf(waits).has_value());
  ASSERT_TRUE(absl::IsDeadlineExceeded(links->tokens().Send({1, 3}, token, absl::Now())));
  EXPECT_TRUE(links->OldestOf(waits).has_value());
  TellCredit(FrameKind::kTokenCredit, 3);
  EXPECT_FALSE(links->OldestOf(waits).has_value());
}

TEST(FrameEpoch, KeepsSchedulersApart) {
  EXPECT_EQ(*FrameEpoch(0, 1), 1u);
  EXPECT_EQ(*FrameEpoch(7, 1), 0x700000001u);
  EXPECT_EQ(*FrameEpoch(8, 1), 0x800000001u);
  EXPECT_EQ(*FrameEpoch(7, UINT32_MAX), 0x7ffffffffu);
  EXPECT_TRUE(absl::IsInvalidArgument(FrameEpoch(7, 0).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FrameEpoch(7, uint64_t{1} << 32).status()));
}

}  // namespace
}  // namespace baton::stage
