// A request is cancelled, or a stage killed, at every point of a request's life that the order of
// messages can make: while it waits, between any two chunks of its prompt on any stage, between
// stages, while it decodes, with and without a step ordered ahead.
#include <cstdint>
#include <string>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/pipeline/simulated_group.h"

namespace baton::scheduler {
namespace {

constexpr uint32_t kCancelMaxLen = 128;
constexpr uint32_t kPromptTokens = 100;  // four chunks of a step's 32 tokens
constexpr uint32_t kAnswerTokens = 5;

struct CancelSetting {
  uint32_t num_stages;
  uint32_t lookahead_steps;
  uint32_t max_running;  // 1: the request waits behind its neighbour
  bool last_stage_first;
};

// One group, one request to be disturbed, and a neighbour that must not notice.
class DisturbedRequest {
 public:
  explicit DisturbedRequest(const CancelSetting& setting)
      : setting_(setting),
        group_({.num_stages = setting.num_stages,
                .lookahead_steps = setting.lookahead_steps,
                .num_blocks = 40,
                .max_running = setting.max_running}) {
    for (uint32_t i = 0; i < setting.num_stages; ++i) group_.AddStage(i);
    group_.Settle();
    neighbour_ = group_.Submit(SimulatedGroup::MakeRequest(6, 40, 3));
    for (uint32_t i = 0; i < 3 * setting.num_stages; ++i) StepOnce();
    id_ = group_.Submit(SimulatedGroup::MakeRequest(kPromptTokens, kAnswerTokens, 5));
    NoteOrdered();
  }

  // One stage takes one message. False: there is none.
  bool StepOnce() {
    for (uint32_t i = 0; i < setting_.num_stages; ++i) {
      const uint32_t index = setting_.last_stage_first ? setting_.num_stages - 1 - i : i;
      if (!group_.StepStage(index)) continue;
      NoteOrdered();
      return true;
    }
    return false;
  }
  // Takes note of what was ordered since: with it, of steps that have work for the request.
  void NoteOrdered() {
    for (const v1::SchedulerMessage& message : group_.stage(0)->inbox) {
      if (!message.has_step() || message.step().step_id() <= last_ordered_) continue;
      last_ordered_ = message.step().step_id();
      for (const v1::SequenceChunk& chunk : message.step().chunks()) {
        if (chunk.sequence_id() == id_) last_with_work_ = last_ordered_;
      }
      for (const uint64_t finished : message.step().finished_sequence_ids()) {
        if (finished == id_) forgotten_with_ = last_ordered_;
      }
    }
  }
  bool done() { return group_.caller(id_).num_finishes > 0; }

  void ExpectAnswered(SequenceId id) {
    SimulatedCaller& caller = group_.caller(id);
    ASSERT_EQ(caller.num_finishes, 1);
    EXPECT_TRUE(caller.status->ok()) << *caller.status;
    EXPECT_EQ(caller.tokens, SimulatedGroup::Expected(caller.request, kCancelMaxLen));
  }
  void ExpectBaseline() {
    for (uint32_t i = 0; i < setting_.num_stages; ++i) {
      EXPECT_EQ(group_.stage(i)->state.num_sequences(), 0u) << "stage " << i;
      EXPECT_EQ(group_.stage(i)->state.num_used_blocks(), 0u) << "stage " << i;
    }
    EXPECT_TRUE(group_.violations().empty()) << group_.violations().front();
  }

  const CancelSetting setting_;
  SimulatedGroup group_;
  SequenceId neighbour_ = 0;
  SequenceId id_ = 0;
  uint64_t last_ordered_ = 0;    // step, of this epoch
  uint64_t last_with_work_ = 0;  // likewise
  uint64_t forgotten_with_ = 0;  // likewise; 0: not yet
};

// Chunks of the prompt and tokens are more messages than this.
constexpr int kFewestPoints = 8;

class AtEveryPoint : public testing::TestWithParam<CancelSetting> {};

TEST_P(AtEveryPoint, CancellingStopsTheWorkWithinAStepAndFreesItsBlocks) {
  bool reached_end = false;
  int point = 0;
  for (; !reached_end && !HasFailure(); ++point) {
    SCOPED_TRACE("cancelled after " + std::to_string(point) + " messages");
    DisturbedRequest test(GetParam());
    for (int i = 0; i < point && !test.done(); ++i) ASSERT_TRUE(test.StepOnce());
    reached_end = test.done();
    const uint64_t last_ordered = test.last_ordered_;
    test.group_.Cancel(test.id_);
    test.NoteOrdered();
    while (test.StepOnce()) continue;
    EXPECT_EQ(test.group_.caller(test.id_).num_finishes, 1);
    if (!reached_end) {
      EXPECT_TRUE(absl::IsCancelled(*test.group_.caller(test.id_).status));
      EXPECT_LE(test.last_with_work_, last_ordered) << "no step that is ordered later has it";
      if (test.last_with_work_ > 0) {
        // What is in flight is done first; the next step that is ordered tells the stages.
        EXPECT_GT(test.forgotten_with_, 0u);
        EXPECT_LE(test.forgotten_with_,
                  last_ordered + GetParam().num_stages + GetParam().lookahead_steps + 1);
      }
    }
    test.ExpectAnswered(test.neighbour_);
    test.ExpectBaseline();
  }
  EXPECT_GE(point, kFewestPoints);
}

TEST_P(AtEveryPoint, LosingAnyStageCostsNoToken) {
  for (uint32_t lost = 0; lost < GetParam().num_stages; ++lost) {
    bool reached_end = false;
    int point = 0;
    for (; !reached_end && !HasFailure(); ++point) {
      SCOPED_TRACE("stage " + std::to_string(lost) + " killed after " + std::to_string(point) +
                   " messages");
      DisturbedRequest test(GetParam());
      for (int i = 0; i < point && !test.done(); ++i) ASSERT_TRUE(test.StepOnce());
      reached_end = test.done();
      test.group_.KillStage(lost);
      test.group_.AddStage(lost);
      test.group_.Settle();
      test.ExpectAnswered(test.id_);
      test.ExpectAnswered(test.neighbour_);
      test.ExpectBaseline();
    }
    EXPECT_GE(point, kFewestPoints);
  }
}

std::string NameOf(const testing::TestParamInfo<CancelSetting>& setting) {
  return std::to_string(setting.param.num_stages) + "Stages" +
         std::to_string(setting.param.lookahead_steps) + "Ahead" +
         std::to_string(setting.param.max_running) + "Run" +
         (setting.param.last_stage_first ? "LastFirst" : "FirstFirst");
}

INSTANTIATE_TEST_SUITE_P(
    Settings, AtEveryPoint,
    testing::Values(CancelSetting{1, 0, 8, false}, CancelSetting{1, 1, 8, false},
                    CancelSetting{2, 0, 8, false}, CancelSetting{2, 1, 8, false},
                    CancelSetting{2, 1, 8, true}, CancelSetting{3, 0, 8, true},
                    CancelSetting{3, 1, 8, false}, CancelSetting{3, 1, 8, true},
                    CancelSetting{2, 1, 1, false}, CancelSetting{2, 0, 1, true}),
    NameOf);

}  // namespace
}  // namespace baton::scheduler
