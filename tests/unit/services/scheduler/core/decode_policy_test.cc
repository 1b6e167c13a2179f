#include "services/scheduler/core/decode_policy.h"

#include <deque>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

// Running sequences, prompt computed, one token generated; sequence i arrived as the i-th.
class DecodePolicy : public testing::Test {
 protected:
  Sequence* Add(StepId last_step) {
    Sequence* sequence =
        &sequences_.emplace_back(MakeRequest(sequences_.size() + 1, 4), sequences_.size());
    sequence->set_state(Sequence::State::kRunning);
    sequence->Advance(4, last_step);
    sequence->FinishStep();
    sequence->AppendToken(5);
    running_.insert(sequence);
    return sequence;
  }

  std::deque<Sequence> sequences_;
  RunningSet running_;
};

TEST_F(DecodePolicy, SharesDecodesEvenlyAmongStepsInFlight) {
  EXPECT_EQ(DecodeShare(5, 1), 5u);
  EXPECT_EQ(DecodeShare(5, 2), 3u);
  EXPECT_EQ(DecodeShare(5, 8), 1u);
}

TEST_F(DecodePolicy, TriesFirstThoseThatWaitedLongest) {
  Sequence* newer = Add(9);
  Sequence* older = Add(3);
  EXPECT_EQ(DecodeCandidates(running_, {}), (std::vector<Sequence*>{older, newer}));
}

TEST_F(DecodePolicy, SkipsWhatIsInFlight) {
  Add(1)->Advance(1, 2);
  Sequence* free = Add(1);
  EXPECT_EQ(DecodeCandidates(running_, {}), (std::vector<Sequence*>{free}));
}

TEST_F(DecodePolicy, TakesWhatIsBeingSampledIfThatMayBeFedBack) {
  Sequence* sampled = Add(1);
  sampled->Advance(1, 2);
  Add(1)->Advance(1, 3);
  EXPECT_EQ(DecodeCandidates(running_, {.last_step = 2, .max_len = 100}),
            (std::vector<Sequence*>{sampled}));
  EXPECT_TRUE(DecodeCandidates(running_, {.last_step = 1, .max_len = 100}).empty());
  // The token that is sampled would be its last.
  EXPECT_TRUE(DecodeCandidates(running_, {.last_step = 2, .max_len = 6}).empty());
}

TEST_F(DecodePolicy, VictimIsTheLastServedThatIsNotInFlight) {
  Sequence* first = Add(1);
  Sequence* second = Add(1);
  Sequence* third = Add(1);
  EXPECT_EQ(PickVictim(running_, *first), third);
  third->Advance(1, 2);
  EXPECT_EQ(PickVictim(running_, *first), second);
  EXPECT_EQ(PickVictim(running_, *second), nullptr);
  EXPECT_EQ(PickVictim(running_, *third), nullptr);
}

}  // namespace
}  // namespace baton::scheduler
