#include "services/stage_worker/clients/token_link.h"

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

using testing::ElementsAre;

absl::Time Soon() { return absl::Now() + absl::Seconds(20); }

// The first and the last stage of an epoch; either has its own name for it.
class TokenLinkTest : public testing::Test {
 protected:
  TokenLinkTest()
      : first_transport_(*Transport::Create({.name = "first", .transports = "sm"})),
        last_transport_(*Transport::Create({.name = "last", .transports = "sm"})),
        first_(*TokenLink::Create(first_transport_.get(), Options(true))),
        last_(*TokenLink::Create(last_transport_.get(), Options(false))) {}

  static TokenLinkOptions Options(bool receives) {
    return {.receives = receives,
            .sends = !receives,
            .max_step_sequences = 4,
            .max_steps_in_flight = 2};
  }
  void BeginEpoch(uint64_t epoch) {
    ASSERT_TRUE(first_->EndEpoch(Soon()).ok());
    ASSERT_TRUE(last_->EndEpoch(Soon()).ok());
    ASSERT_TRUE(first_->BeginEpoch({.local_epoch = epoch + 10, .frame_epoch = epoch}, Soon()).ok());
    ASSERT_TRUE(last_
                    ->BeginEpoch({.local_epoch = epoch + 20,
                                  .frame_epoch = epoch,
                                  .first_address = first_transport_->address()},
                                 Soon())
                    .ok());
  }
  absl::Status Send(uint64_t epoch, uint64_t step_id, const std::vector<uint32_t>& tokens) {
    return last_->Send({epoch + 20, step_id}, tokens, Soon());
  }
  absl::StatusOr<std::vector<uint32_t>> Receive(uint64_t epoch, uint64_t step_id, size_t count) {
    return first_->Receive({epoch + 10, step_id}, count, Soon());
  }

  const std::unique_ptr<Transport> first_transport_;
  const std::unique_ptr<Transport> last_transport_;
  const std::unique_ptr<TokenLink> first_;
  const std::unique_ptr<TokenLink> last_;
};

TEST_F(TokenLinkTest, IsASourceAtTheFirstStageAndASinkAtTheLast) {
  EXPECT_NE(first_->source(), nullptr);
  EXPECT_EQ(first_->sink(), nullptr);
  EXPECT_EQ(last_->source(), nullptr);
  EXPECT_NE(last_->sink(), nullptr);
}

TEST_F(TokenLinkTest, CarriesTokensOfStepAfterStep) {
  BeginEpoch(1);
  // Steps without draws send nothing.
  for (uint32_t step = 2; step <= 40; step += 2) {
    ASSERT_TRUE(Send(1, step, {step, step + 1}).ok());
    const auto tokens = Receive(1, step, 2);
    ASSERT_TRUE(tokens.ok()) << tokens.status();
    EXPECT_THAT(*tokens, ElementsAre(step, step + 1));
  }
}

TEST_F(TokenLinkTest, WaitsForACreditWhenNothingIsTaken) {
  BeginEpoch(1);
  const uint64_t num_slots = NumTokenSlots(Options(false).max_steps_in_flight);
  for (uint64_t step = 1; step <= num_slots; ++step) ASSERT_TRUE(Send(1, step, {7}).ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      last_->Send({21, num_slots + 1}, std::vector<uint32_t>{7}, absl::Now())));
}

TEST_F(TokenLinkTest, RefusesAnotherStepOrLength) {
  BeginEpoch(1);
  ASSERT_TRUE(Send(1, 1, {7}).ok());
  EXPECT_TRUE(absl::IsDataLoss(Receive(1, 2, 1).status()));
  BeginEpoch(2);
  ASSERT_TRUE(Send(2, 1, {7}).ok());
  EXPECT_TRUE(absl::IsDataLoss(Receive(2, 1, 2).status()));
}

TEST_F(TokenLinkTest, KnowsNothingOfAnotherEpoch) {
  BeginEpoch(1);
  ASSERT_TRUE(Send(1, 1, {7}).ok());
  BeginEpoch(2);
  EXPECT_TRUE(absl::IsCancelled(Receive(1, 1, 1).status()));
  EXPECT_TRUE(absl::IsCancelled(Send(1, 2, {7})));
  ASSERT_TRUE(Send(2, 1, {8}).ok());
  EXPECT_THAT(*Receive(2, 1, 1), ElementsAre(8));
}

TEST_F(TokenLinkTest, WakesWaitsWhenAborted) {
  BeginEpoch(1);
  first_->Abort(absl::CancelledError("the epoch has ended"));
  EXPECT_TRUE(absl::IsCancelled(Receive(1, 1, 1).status()));
  BeginEpoch(2);
  ASSERT_TRUE(Send(2, 1, {8}).ok());
  EXPECT_TRUE(Receive(2, 1, 1).ok());
}

TEST_F(TokenLinkTest, NeedsAnAddressToSendTo) {
  EXPECT_TRUE(
      absl::IsInvalidArgument(last_->BeginEpoch({.local_epoch = 1, .frame_epoch = 1}, Soon())));
}

}  // namespace
}  // namespace baton::stage
