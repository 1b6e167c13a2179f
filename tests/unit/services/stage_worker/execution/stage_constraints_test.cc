// Structured output in steps of several sequences.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/structured_output/constraint.h"
#include "common/structured_output/vocabulary_trie.h"
#include "tests/fakes/sequence_driver.h"
#include "tests/unit/services/stage_worker/execution/stage_executor_fixture.h"

namespace baton::stage {
namespace {

constexpr uint32_t kA = 10;
constexpr uint32_t kB = 11;
constexpr uint32_t kEnd = 12;
constexpr uint32_t kThinkEnd = 20;
constexpr absl::Duration kLimit = absl::Seconds(60);

// Two stages; constraints are compiled once that is allowed.
class StageConstraintsTest : public StageExecutorTest {
 protected:
  StageConstraintsTest() {
    constraints_.compile = [this](const structured::Constraint& constraint) {
      started_.Notify();
      go_.WaitForNotification();
      return structured::CompileConstraint(constraint);
    };
    group_ = Group(2, 1, 1);
    std::vector<std::string> tokens(static_cast<size_t>(config_.vocab_size));
    tokens[kA] = "a";
    tokens[kB] = "b";
    group_->executor(1).SetVocabulary(
        std::make_shared<const structured::VocabularyTrie>(tokens, tokens.size()));
    driver_ = std::make_unique<fakes::SequenceDriver>(group_.get());
    plain_ = driver_->Add({1, 2, 3}, {});
  }
  ~StageConstraintsTest() override {
    if (!go_.HasBeenNotified()) go_.Notify();
  }

  // The answer is "ab", behind a reasoning of so many tokens if there is one.
  static SamplingSettings Settings(uint32_t num_reasoning_tokens) {
    auto structured = std::make_shared<StructuredSettings>();
    structured->constraint.kind = structured::ConstraintKind::kChoice;
    structured->constraint.choices = {"ab"};
    structured->end_token_ids = {kEnd};
    SamplingSettings settings;
    if (num_reasoning_tokens > 0) {
      structured->begin_after_token_id = kThinkEnd;
      settings.reasoning_budget = {num_reasoning_tokens, kThinkEnd, std::nullopt};
    }
    settings.structured = std::move(structured);
    return settings;
  }
  std::vector<uint32_t> LastThree(uint64_t sequence_id) const {
    const std::vector<uint32_t>& tokens = driver_->at(sequence_id).tokens;
    return {tokens.end() - 3, tokens.end()};
  }

  absl::Notification started_;
  absl::Notification go_;
  std::unique_ptr<fakes::StageGroup> group_;
  std::unique_ptr<fakes::SequenceDriver> driver_;
  uint64_t plain_ = 0;
};

TEST_F(StageConstraintsTest, IsCompiledFromTheFirstChunkOnWhileStepsGoOn) {
  const uint64_t constrained = driver_->Add(std::vector<uint32_t>(10, 5), Settings(0));
  for (int step = 0; step < 3; ++step) {
    ASSERT_TRUE(driver_->Step({{plain_, 3}, {constrained, 3}}).ok());
  }
  ASSERT_TRUE(started_.WaitForNotificationWithTimeout(kLimit));
  ASSERT_TRUE(driver_->Step({{plain_, 1}}).ok());
  EXPECT_EQ(driver_->num_drawn(plain_), 4u);
  EXPECT_EQ(driver_->num_drawn(constrained), 0u);
  go_.Notify();
  ASSERT_TRUE(driver_->Generate(constrained, 3, 10).ok());
  EXPECT_THAT(LastThree(constrained), testing::ElementsAre(kA, kB, kEnd));
}

TEST_F(StageConstraintsTest, IsNotAwaitedBeforeTheReasoningHasEnded) {
  const uint64_t constrained = driver_->Add({5, 6}, Settings(3));
  for (int step = 0; step < 4; ++step) {
    ASSERT_TRUE(driver_->Step({{plain_, 3}, {constrained, 2}}).ok());
  }
  ASSERT_TRUE(started_.WaitForNotificationWithTimeout(kLimit));
  EXPECT_EQ(driver_->num_drawn(plain_), 4u);
  EXPECT_EQ(driver_->num_drawn(constrained), 4u);
  EXPECT_EQ(driver_->at(constrained).tokens.back(), kThinkEnd);
  go_.Notify();
  ASSERT_TRUE(driver_->Generate(constrained, 7, 1).ok());
  EXPECT_THAT(LastThree(constrained), testing::ElementsAre(kA, kB, kEnd));
}

TEST_F(StageConstraintsTest, CountsWhatItHolds) {
  const uint64_t before = group_->executor(1).constraint_bytes();
  go_.Notify();
  ASSERT_TRUE(driver_->Generate(driver_->Add({5}, Settings(0)), 3, 1).ok());
  EXPECT_GT(group_->executor(1).constraint_bytes(), before);
  EXPECT_EQ(group_->executor(0).constraint_bytes(), 0u);
}

}  // namespace
}  // namespace baton::stage
