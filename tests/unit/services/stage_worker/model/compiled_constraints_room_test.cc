// Who gets room for a constraint, and who is refused for want of it.
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/unit/services/stage_worker/model/compiled_constraints_fixture.h"

namespace baton::stage {
namespace {

using ::testing::HasSubstr;

class CompiledConstraintsRoomTest : public CompiledConstraintsTest {};

TEST_F(CompiledConstraintsRoomTest, RefusesWhatDoesNotFitBesideThoseInUse) {
  std::vector<std::shared_ptr<const StructuredSettings>> in_use;
  absl::Status status;
  while (in_use.size() < 40) {
    in_use.push_back(Long(static_cast<int>(in_use.size())));
    constraints_.Prepare(in_use.back());
    status = constraints_.Get(in_use.back()).status();
    if (!status.ok()) break;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("--constraint-memory-bytes; try again later"));
  EXPECT_GE(in_use.size(), 3u);
  EXPECT_LE(constraints_.bytes(), kCapacity);
  const int num_compiles = num_compiles_;
  const auto refused = in_use.back();
  in_use.pop_back();
  EXPECT_FALSE(constraints_.Get(refused).ok());
  EXPECT_EQ(num_compiles_, num_compiles) << "that it does not fit is known";
  for (const auto& settings : in_use) EXPECT_TRUE(constraints_.Get(settings).ok());
  EXPECT_EQ(num_compiles_, num_compiles) << "those in use are all there";
  in_use.clear();
  EXPECT_TRUE(constraints_.Get(refused).ok()) << "there is room now";
}

// Whoever drew with it may hold it for a while longer.
TEST_F(CompiledConstraintsRoomTest, ASequenceThatHasEndedTakesNoRoom) {
  const auto text = [](char first) { return std::string(1, first) + std::string(40'000, 'a'); };
  const auto held = constraints_.Get(Choosing(text('x')));
  ASSERT_TRUE(held.ok()) << held.status();
  const auto next = Choosing(text('y'));
  constraints_.Prepare(next);
  AwaitThread(0);
  const auto constraint = constraints_.Get(next);
  ASSERT_TRUE(constraint.ok()) << constraint.status();
  EXPECT_EQ(num_compiles_, 3) << "once each";
  EXPECT_GE(constraints_.bytes(), (*held)->automaton_bytes() + (*constraint)->automaton_bytes())
      << "what is held is counted";
}

// It cannot be freed: none is in use, and yet there is no room.
TEST_F(CompiledConstraintsRoomTest, SaysThatWhatIsStillHeldTakesTheRoom) {
  std::vector<std::shared_ptr<structured::TokenConstraint>> held;
  absl::Status status;
  while (status.ok() && held.size() < 40) {
    const auto constraint = constraints_.Get(Long(static_cast<int>(held.size())));
    status = constraint.status();
    if (constraint.ok()) held.push_back(*constraint);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("under way or just ended"));
  EXPECT_THAT(status.message(), HasSubstr("may take 4194304, half of the stage's"));
}

TEST_F(CompiledConstraintsRoomTest, WhatFoundNoRoomIsCompiledAsideOnceThereIsSome) {
  const auto text = [](char first) { return std::string(1, first) + std::string(40'000, 'a'); };
  auto first = Choosing(text('x'));
  ASSERT_TRUE(constraints_.Get(first).ok());
  const auto next = Choosing(text('y'));
  constraints_.Prepare(next);
  AwaitThread(0);
  EXPECT_EQ(constraints_.Get(next).status().code(), absl::StatusCode::kResourceExhausted);
  first.reset();
  constraints_.Prepare(Choosing(text('y')));
  AwaitThread(1);
  EXPECT_EQ(num_compiles_, 5);
  EXPECT_TRUE(constraints_.Get(next).ok());
  EXPECT_EQ(num_compiles_, 5) << "the draw does not compile it";
}

// As the thread that takes in steps does it, while the draws of an earlier one are under way.
TEST_F(CompiledConstraintsRoomTest, WhatIsQueuedAgainBehindADrawsBackIsStillRefusedToIt) {
  const auto text = [](char first) { return std::string(1, first) + std::string(40'000, 'a'); };
  auto first = Choosing(text('x'));
  ASSERT_TRUE(constraints_.Get(first).ok());
  const auto next = Choosing(text('y'));
  ASSERT_EQ(constraints_.Get(next).status().code(), absl::StatusCode::kResourceExhausted);
  const auto held = Choosing("held");
  constraints_.Prepare(held);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  int num_nows = 0;
  on_now_ = [&] {
    if (++num_nows != 2) return;
    first.reset();
    constraints_.Prepare(Choosing(text('y')));
  };
  const auto refused = constraints_.Get(next);
  EXPECT_EQ(num_nows, 2);
  on_now_ = nullptr;
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  const auto constraint = constraints_.Get(next);
  ASSERT_TRUE(constraint.ok()) << constraint.status();
  EXPECT_NE(*constraint, nullptr);
}

TEST_F(CompiledConstraintsRoomTest, WhatWaitedForRoomThatAnotherTookIsNotCompiled) {
  const auto text = [](char first) { return std::string(1, first) + std::string(40'000, 'a'); };
  auto first = Choosing(text('x'));
  ASSERT_TRUE(constraints_.Get(first).ok());
  const std::vector<std::shared_ptr<const StructuredSettings>> next = {
      Choosing(text('y')), Choosing(text('z')), Choosing(text('b'))};
  for (const auto& settings : next) ASSERT_FALSE(constraints_.Get(settings).ok());
  const auto held = Choosing("held");
  constraints_.Prepare(held);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  first.reset();
  for (const auto& settings : next) constraints_.Prepare(settings);
  const int num_compiles = num_compiles_;
  go_.Notify();
  AwaitThread(0);
  EXPECT_EQ(num_compiles_, num_compiles + 2) << "the first of them, and what AwaitThread waits for";
  EXPECT_TRUE(constraints_.Get(next[0]).ok());
  EXPECT_EQ(constraints_.Get(next[1]).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(num_compiles_, num_compiles + 2);
}

TEST_F(CompiledConstraintsRoomTest, WhatHasBeenDrawnWithHasMoreRoom) {
  std::vector<std::shared_ptr<const StructuredSettings>> in_use;
  do {
    ASSERT_LT(in_use.size(), 40u);
    in_use.push_back(Long(static_cast<int>(in_use.size())));
  } while (constraints_.Get(in_use.back()).ok());
  // It comes back, while others have its room. So does one that was compiled aside meanwhile.
  const auto constraint = constraints_.Get(in_use.back(), /*has_drawn=*/true);
  ASSERT_TRUE(constraint.ok()) << constraint.status();
  EXPECT_EQ(*constraints_.Get(in_use.back()), *constraint) << "kept, like any in use";
  in_use.push_back(Long(40));
  EXPECT_TRUE(constraints_.Get(in_use.back(), /*has_drawn=*/true).ok());
  in_use.push_back(Long(41));
  EXPECT_EQ(constraints_.Get(in_use.back()).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(CompiledConstraintsRoomTest, WhatHasBeenDrawnWithHasMoreRoomWhenItIsCompiledAside) {
  const auto text = [](char first) { return std::string(1, first) + std::string(30'000, 'a'); };
  const std::vector<std::shared_ptr<const StructuredSettings>> in_use = {Choosing(text('x')),
                                                                         Choosing(text('z'))};
  for (const auto& settings : in_use) ASSERT_TRUE(constraints_.Get(settings).ok());
  const auto back = Choosing(text('y'));
  constraints_.Prepare(back, /*has_drawn=*/true);
  AwaitThread(0);
  EXPECT_EQ(num_compiles_, 4);
  EXPECT_TRUE(constraints_.Get(back, /*has_drawn=*/true).ok());
  EXPECT_EQ(num_compiles_, 4) << "the draw does not compile it";
}

TEST_F(CompiledConstraintsRoomTest, WhatHasBeenDrawnWithHasHalfAsMuchRoomAgain) {
  std::vector<std::shared_ptr<const StructuredSettings>> in_use;
  absl::Status status;
  while (status.ok() && in_use.size() < 40) {
    in_use.push_back(Long(static_cast<int>(in_use.size())));
    status = constraints_.Get(in_use.back(), /*has_drawn=*/true).status();
    EXPECT_LE(constraints_.bytes(), kCapacity / 2);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(
      status.message(),
      HasSubstr("may take 3145728, three eighths of the stage's --constraint-memory-bytes"));
  in_use.pop_back();
  EXPECT_TRUE(constraints_.Get(in_use.front()).ok()) << "those in use are all there";
}

TEST_F(CompiledConstraintsRoomTest, WhatIsTooLargeByItselfIsTheRequestsFault) {
  const auto large = Choosing(std::string(80'000, 'a'));
  for (const bool has_drawn : {false, true}) {
    const absl::Status status = constraints_.Get(large, has_drawn).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("it may take 2097152, a quarter of"));
  }
  EXPECT_EQ(num_compiles_, 1);
}

}  // namespace
}  // namespace baton::stage
