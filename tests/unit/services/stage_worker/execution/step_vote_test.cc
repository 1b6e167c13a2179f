#include "services/stage_worker/execution/step_vote.h"

#include <array>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace baton::stage {
namespace {

TEST(StepVote, IsUnanimousOrNo) {
  constexpr int kDevices = 3;
  constexpr int kRounds = 200;
  StepVote vote(kDevices);
  std::array<std::vector<bool>, kDevices> decisions;
  std::vector<std::thread> threads;
  for (int device = 0; device < kDevices; ++device) {
    threads.emplace_back([&, device] {
      // Device d says no in rounds that d + 2 divides.
      for (int round = 1; round <= kRounds; ++round) {
        decisions[device].push_back(vote.Agree(round % (device + 2) != 0));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int round = 1; round <= kRounds; ++round) {
    const bool expected = round % 2 != 0 && round % 3 != 0 && round % 4 != 0;
    for (int device = 0; device < kDevices; ++device) {
      EXPECT_EQ(decisions[device][round - 1], expected) << "round " << round;
    }
  }
}

TEST(StepVote, DoesNotWaitForNobody) {
  StepVote vote(1);
  EXPECT_TRUE(vote.Agree(true));
  EXPECT_FALSE(vote.Agree(false));
  EXPECT_TRUE(vote.Agree(true));
}

}  // namespace
}  // namespace baton::stage
