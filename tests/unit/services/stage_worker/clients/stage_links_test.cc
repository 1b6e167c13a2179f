#include "services/stage_worker/clients/stage_links.h"

#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

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
