// Random arrivals, cancellations, lost stages and delays against simulated stages: whatever
// happens, every sequence ends exactly once, with the tokens that the model gives it alone, and no
// block is left behind.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/pipeline/simulated_group.h"

namespace baton::scheduler {
namespace {

constexpr int kActions = 3000;

struct Story {
  SimulatedGroupOptions options;
  bool lose_stages = false;
};

// What was in flight when stages were lost, as the stages themselves saw it: a step is in flight
// while one of them still has its command to work on.
class LossLog {
 public:
  // A stage is about to be lost.
  void Count(SimulatedGroup* group, uint32_t num_stages) {
    std::set<SequenceId> in_flight;
    uint64_t epoch = last_lost_epoch_;
    for (uint32_t index = 0; index < num_stages; ++index) {
      for (const v1::SchedulerMessage& message : group->stage(index)->inbox) {
        // Steps of an epoch that is over are dropped.
        if (!message.has_step() || message.step().epoch() <= last_lost_epoch_) continue;
        epoch = message.step().epoch();
        for (const auto& chunk : message.step().chunks()) in_flight.insert(chunk.sequence_id());
      }
    }
    last_lost_epoch_ = epoch;
    for (const SequenceId id : in_flight) {
      Losses& losses = losses_[id];
      const size_t num_tokens = group->caller(id).tokens.size();
      if (std::exchange(losses.num_tokens, num_tokens) != num_tokens) losses.in_a_row = 0;
      ++losses.in_a_row;
      losses.last_alone = in_flight.size() == 1;
    }
  }
  bool MayBeToBlame(SequenceId id) const {
    const auto found = losses_.find(id);
    return found != losses_.end() && found->second.in_a_row >= 2 && found->second.last_alone;
  }

 private:
  struct Losses {
    size_t num_tokens = 0;  // that had come by the last one
    int in_a_row = 0;       // without a token in between
    bool last_alone = false;
  };
  std::map<SequenceId, Losses> losses_;
  uint64_t last_lost_epoch_ = 0;
};

class StepEngineProperty : public testing::TestWithParam<uint32_t> {
 protected:
  static Story MakeStory(uint32_t seed) {
    std::mt19937 random(seed * 7919);
    Story story;
    story.options.seed = seed;
    story.options.num_stages = 1 + random() % 3;
    story.options.num_blocks = 10 + random() % 30;
    story.options.max_step_tokens = 4 + random() % 60;
    story.options.max_running = 2 + random() % 12;
    story.options.max_model_len = 40 + random() % 60;
    story.options.lookahead_steps = random() % 3;
    story.lose_stages = seed % 2 == 0;
    return story;
  }

  static uint32_t MaxLen(const Story& story) {
    return std::min(story.options.max_model_len,
                    story.options.num_blocks * story.options.block_tokens);
  }

  void Act(SimulatedGroup* group, const Story& story) {
    std::mt19937& random = group->random();
    const uint32_t dice = random() % 100;
    if (dice < 6) {
      const uint32_t prompt = 1 + random() % (MaxLen(story) - 1);
      const uint64_t seed = random() % 1000000;
      // Every other prompt begins like some others.
      const uint64_t text = random() % 2 == 0 ? seed : random() % 3;
      v1::SubmitRequest request =
          SimulatedGroup::MakeRequest(prompt, 1 + random() % 40, seed, text);
      request.set_priority(random() % 8 == 0 ? -1 : 0);
      const SequenceId id = group->Submit(std::move(request));
      if (random() % 4 == 0) group->caller(id).most_unread = random() % 10;
    } else if (dice < 8 && !group->callers().empty()) {
      const SequenceId id = 1 + random() % group->callers().size();
      if (group->caller(id).num_finishes == 0) cancelled_.insert(id);
      group->Cancel(id);
    } else if (dice < 8 + 4 && !group->callers().empty()) {
      group->Read(1 + random() % group->callers().size());
    } else if (dice < 13) {
      group->Pass(absl::Milliseconds(random() % 300));
    } else if (dice == 13 && story.lose_stages && random() % 10 == 0) {
      const uint32_t lost = random() % story.options.num_stages;
      losses_.Count(group, story.options.num_stages);
      group->KillStage(lost);
      group->AddStage(lost);
    } else {
      group->StepRandomStage();
    }
  }

  // Everybody reads until all is done.
  static void ReadAndSettle(SimulatedGroup* group) {
    for (const auto& [id, caller] : group->callers()) {
      caller->most_unread = SIZE_MAX - 1;
      group->engine().Take(ReaderCaughtUpEvent{id}, group->now());
    }
    group->Pass(absl::ZeroDuration());
    group->Settle();
  }

  void CheckCallers(SimulatedGroup* group, const Story& story) {
    for (const auto& [id, caller] : group->callers()) {
      ASSERT_EQ(caller->num_finishes, 1) << "sequence " << id;
      if (cancelled_.contains(id)) continue;
      const std::vector<uint32_t> expected =
          SimulatedGroup::Expected(caller->request, MaxLen(story));
      if (story.lose_stages && absl::IsInternal(*caller->status)) {
        // It was in flight at two losses or more, in a row, at the last one alone: it may be what
        // kills. What came is right.
        ASSERT_NE(caller->status->message().find("lost a stage"), std::string::npos);
        ASSERT_TRUE(losses_.MayBeToBlame(id)) << "sequence " << id;
        ASSERT_LT(caller->tokens.size(), expected.size());
        ASSERT_TRUE(std::equal(caller->tokens.begin(), caller->tokens.end(), expected.begin()));
        continue;
      }
      ASSERT_TRUE(caller->status->ok()) << *caller->status;
      ASSERT_EQ(caller->tokens, expected) << "sequence " << id;
      ASSERT_EQ(caller->reason, v1::FINISH_REASON_LENGTH);
    }
  }

  std::set<SequenceId> cancelled_;
  LossLog losses_;
};

TEST_P(StepEngineProperty, EverySequenceEndsOnceWithItsOwnTokens) {
  const Story story = MakeStory(GetParam());
  SimulatedGroup group(story.options);
  for (uint32_t i = 0; i < story.options.num_stages; ++i) group.AddStage(i);
  for (int i = 0; i < kActions; ++i) Act(&group, story);
  ReadAndSettle(&group);
  CheckCallers(&group, story);
  for (uint32_t i = 0; i < story.options.num_stages; ++i) {
    EXPECT_EQ(group.stage(i)->state.num_sequences(), 0u);
    EXPECT_EQ(group.stage(i)->state.num_used_blocks(), 0u);
  }
  const std::vector<std::string> violations = group.violations();
  EXPECT_TRUE(violations.empty()) << violations.front();
  EXPECT_GT(group.callers().size(), 50u);
  uint64_t num_cached = 0;
  for (const auto& [id, caller] : group.callers()) num_cached += caller->num_cached;
  EXPECT_GT(num_cached, 0u);
}

// A token on which stages die: whoever has it fails after a few losses, everyone else is answered.
TEST_P(StepEngineProperty, ADeadlyTokenHarmsOnlyThoseWhoHaveIt) {
  constexpr uint32_t kDeadly = 500;
  Story story = MakeStory(GetParam());
  story.options.deadly_token = kDeadly;
  SimulatedGroup group(story.options);
  for (uint32_t i = 0; i < story.options.num_stages; ++i) group.AddStage(i);
  for (int i = 0; i < 300; ++i) {
    Act(&group, {.options = story.options, .lose_stages = false});
    if (i % 100 != 50) continue;
    v1::SubmitRequest deadly = SimulatedGroup::MakeRequest(5, 20, group.random()() % 1000);
    deadly.set_prompt_token_ids(static_cast<int>(group.random()() % 5), kDeadly);
    group.Submit(std::move(deadly));
  }
  ReadAndSettle(&group);
  int num_failed = 0;
  for (const auto& [id, caller] : group.callers()) {
    ASSERT_EQ(caller->num_finishes, 1) << "sequence " << id;
    if (cancelled_.contains(id)) continue;
    std::vector<uint32_t> told(caller->request.prompt_token_ids().begin(),
                               caller->request.prompt_token_ids().end());
    const std::vector<uint32_t> answer = SimulatedGroup::Expected(caller->request, MaxLen(story));
    told.insert(told.end(), answer.begin(), answer.end() - 1);  // the last one is never sent back
    if (std::find(told.begin(), told.end(), kDeadly) == told.end()) {
      ASSERT_TRUE(caller->status->ok()) << *caller->status;
      ASSERT_EQ(caller->tokens, answer) << "sequence " << id;
    } else {
      ASSERT_TRUE(absl::IsInternal(*caller->status)) << *caller->status;
      ++num_failed;
    }
  }
  EXPECT_GT(num_failed, 0);
}

INSTANTIATE_TEST_SUITE_P(Seeds, StepEngineProperty, testing::Range(1u, 101u));

}  // namespace
}  // namespace baton::scheduler
