#include "services/stage_worker/model/compiled_constraints.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/unit/services/stage_worker/model/compiled_constraints_fixture.h"

namespace baton::stage {
namespace {

using ::testing::HasSubstr;

TEST_F(CompiledConstraintsTest, CompilesAsideAndOnce) {
  const auto settings = Choosing("held");
  constraints_.Prepare(settings);
  constraints_.Prepare(Choosing("held"));
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  go_.Notify();
  const auto first = constraints_.Get(settings);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(*constraints_.Get(Choosing("held")), *first);
  EXPECT_EQ(num_compiles_, 1);
}

TEST_F(CompiledConstraintsTest, DoesNotWaitForThoseBeforeIt) {
  const auto held = Choosing("held");
  const auto settings = Choosing("ab");
  constraints_.Prepare(held);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  constraints_.Prepare(settings);
  EXPECT_TRUE(constraints_.Get(settings).ok());
  EXPECT_TRUE(constraints_.Get(Choosing("ba")).ok()) << "that nobody announced";
  EXPECT_EQ(num_compiles_, 3);
}

TEST_F(CompiledConstraintsTest, CountsTheMasksThatAllConstraintsShare) {
  EXPECT_EQ(constraints_.bytes(), Letters()->plain_tokens().bytes());
  EXPECT_GT(constraints_.bytes(), 0u);
  constraints_.SetVocabulary(nullptr);
  EXPECT_EQ(constraints_.bytes(), 0u);
}

TEST_F(CompiledConstraintsTest, QueuesSoManyAndNoMore) {
  std::vector<std::shared_ptr<const StructuredSettings>> settings = {Choosing("held")};
  constraints_.Prepare(settings[0]);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  for (size_t i = 0; i < 2 * CompiledConstraints::kMostQueued; ++i) {
    settings.push_back(Choosing(absl::StrCat("a", i)));
    constraints_.Prepare(settings.back());
  }
  EXPECT_EQ(constraints_.num_kept(), 1 + CompiledConstraints::kMostQueued);
  EXPECT_TRUE(constraints_.Get(settings.back()).ok());
}

// However long their texts are: a quarter of the budget is for all in use.
TEST_F(CompiledConstraintsTest, WhatWaitsTakesLittleOfTheBudget) {
  constexpr size_t kTextBytes = size_t{256} << 10;
  std::vector<std::shared_ptr<const StructuredSettings>> settings = {Choosing("held")};
  constraints_.Prepare(settings[0]);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  for (size_t i = 0; i < CompiledConstraints::kMostQueued; ++i) {
    settings.push_back(Choosing(absl::StrCat(i, std::string(kTextBytes, 'a'))));
    constraints_.Prepare(settings.back());
  }
  ASSERT_EQ(constraints_.num_kept(), 1 + CompiledConstraints::kMostQueued);
  EXPECT_LT(constraints_.bytes(), kCapacity / 4 / 4);
  const auto small = Choosing("ab");
  const auto constraint = constraints_.Get(small);
  EXPECT_TRUE(constraint.ok()) << constraint.status();
}

TEST_F(CompiledConstraintsTest, DoesNotCompileForSequencesThatHaveEnded) {
  const auto held = Choosing("held");
  constraints_.Prepare(held);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  constraints_.Prepare(Choosing("ab"));
  const auto last = Choosing("last");
  constraints_.Prepare(last);
  go_.Notify();
  ASSERT_TRUE(last_.WaitForNotificationWithTimeout(kLimit)) << "the thread is past \"ab\"";
  EXPECT_EQ(num_compiles_, 2);
}

TEST_F(CompiledConstraintsTest, RemembersARefusal) {
  for (int i = 0; i < 2; ++i) {
    const auto refused = constraints_.Get(Choosing(""));
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(refused.status().message(), HasSubstr("a choice is empty"));
  }
  EXPECT_EQ(num_compiles_, 1);
}

TEST_F(CompiledConstraintsTest, DropsWhatNobodyUsesTheLeastRecentlyUsedFirst) {
  size_t sum = 0;
  for (int i = 0; i < 40; ++i) {
    const auto constraint = constraints_.Get(Long(i));
    ASSERT_TRUE(constraint.ok()) << constraint.status();
    sum += (*constraint)->automaton_bytes();
    constraints_.NoteUse(**constraint);
    EXPECT_LE(constraints_.bytes(), kCapacity);
    ASSERT_TRUE(constraints_.Get(Long(0)).ok());  // used all the time
  }
  EXPECT_GT(sum, 2 * kCapacity);
  EXPECT_EQ(num_compiles_, 40);
  EXPECT_TRUE(constraints_.Get(Long(39)).ok());
  EXPECT_EQ(num_compiles_, 40) << "the newest";
  EXPECT_TRUE(constraints_.Get(Long(1)).ok());
  EXPECT_EQ(num_compiles_, 41) << "the oldest";
}

TEST_F(CompiledConstraintsTest, TellsWhatIsKnownWithoutWaiting) {
  const auto held = Choosing("held");
  const auto key = CompiledConstraints::KeyOf(*held);
  for (int i = 0; i < 2; ++i) {
    const auto nothing = constraints_.TryGet(key, held);
    ASSERT_TRUE(nothing.ok()) << nothing.status();
    EXPECT_EQ(*nothing, nullptr);
    ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  }
  const auto refused = Choosing("");
  constraints_.Prepare(refused);
  go_.Notify();
  AwaitThread(0);
  const auto known = constraints_.TryGet(key, held);
  ASSERT_TRUE(known.ok()) << known.status();
  EXPECT_NE(*known, nullptr);
  EXPECT_EQ(*constraints_.Get(held), *known);
  EXPECT_EQ(constraints_.TryGet(CompiledConstraints::KeyOf(*refused), refused).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(num_compiles_, 3);
}

TEST_F(CompiledConstraintsTest, AStepWaitsSoLongAndNoLonger) {
  using std::chrono::milliseconds;
  const auto held = Choosing("held");
  const auto queued = Choosing("aaa");
  constraints_.Prepare(held);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  constraints_.Prepare(queued);
  compile_ms_ = milliseconds(CompiledConstraints::kMostStepWait).count() / 2;
  constraints_.BeginStep();
  EXPECT_TRUE(constraints_.Get(Choosing("a")).ok());
  EXPECT_TRUE(constraints_.Get(Choosing("b")).ok());
  const size_t num_kept = constraints_.num_kept();
  for (const auto& settings : {Choosing("ab"), queued, held}) {
    const absl::Status status = constraints_.Get(settings).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(status.message(), HasSubstr("try again later"));
  }
  EXPECT_EQ(constraints_.num_kept(), num_kept);
  EXPECT_EQ(num_compiles_, 3);
  EXPECT_TRUE(constraints_.Get(Choosing("a")).ok()) << "it is there";
  EXPECT_TRUE(constraints_.Get(Choosing("ba"), /*has_drawn=*/true).ok());
  constraints_.BeginStep();
  EXPECT_TRUE(constraints_.Get(Choosing("ab")).ok());
  EXPECT_TRUE(constraints_.Get(queued).ok());
}

}  // namespace
}  // namespace baton::stage
