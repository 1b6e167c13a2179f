#include "services/model_loader/transfer/byte_budget.h"

#include <thread>

#include <gtest/gtest.h>

namespace baton::loader {
namespace {

TEST(ByteBudget, RefusesWhatDoesNotFitByTheDeadline) {
  ByteBudget budget(100);
  const ByteBudget::Leave first = budget.Take(60, absl::InfinitePast());
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(budget.Take(41, absl::InfinitePast()), nullptr);
  EXPECT_NE(budget.Take(40, absl::InfinitePast()), nullptr);
}

TEST(ByteBudget, GoesOnWhenBytesComeBack) {
  ByteBudget budget(100);
  ByteBudget::Leave first = budget.Take(60, absl::InfinitePast());
  std::thread giver([&] { first.reset(); });
  EXPECT_NE(budget.Take(60, absl::InfiniteFuture()), nullptr);
  giver.join();
}

TEST(ByteBudget, LetsMoreThanTheLimitGoAlone) {
  ByteBudget budget(100);
  ByteBudget::Leave large = budget.Take(1000, absl::InfinitePast());
  ASSERT_NE(large, nullptr);
  EXPECT_EQ(budget.Take(1, absl::InfinitePast()), nullptr);
  large.reset();
  const ByteBudget::Leave small = budget.Take(1, absl::InfinitePast());
  EXPECT_NE(small, nullptr);
  EXPECT_EQ(budget.Take(1000, absl::InfinitePast()), nullptr);
}

TEST(ByteBudget, CancelEndsWaits) {
  ByteBudget budget(100);
  const ByteBudget::Leave all = budget.Take(100, absl::InfinitePast());
  std::thread canceller([&] { budget.Cancel(); });
  EXPECT_EQ(budget.Take(1, absl::InfiniteFuture()), nullptr);
  canceller.join();
  EXPECT_EQ(budget.Take(0, absl::InfinitePast()), nullptr);
}

TEST(ByteBudget, WhatWasTakenMayOutliveIt) {
  ByteBudget::Leave leave;
  {
    ByteBudget budget(100);
    leave = budget.Take(10, absl::InfinitePast());
  }
  EXPECT_NE(leave, nullptr);
}

}  // namespace
}  // namespace baton::loader
