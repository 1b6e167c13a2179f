// The reference in float32 against what of the oracle takes it longest, and model_parity_test
// leaves out: a text behind the positions that the rotary frequencies were trained for, and noise.
#include <cstdio>
#include <memory>
#include <vector>

#include "gtest/gtest.h"

#include "tests/conformance/model/tiny_model.h"
#include "tests/conformance/sanitized.h"

namespace baton::conformance {
namespace {

class ReferenceParity : public testing::Test {
 protected:
  // Every log-probability, and the best token, at every position of the oracle's.
  void ExpectOracle(uint64_t computed, const fakes::OracleSequence& sequence) {
    const Deviation deviation = FirstDeviation(driver_, computed, sequence, kLogprobTolerance);
    EXPECT_EQ(deviation.position, -1) << "sequence " << sequence.id;
    const Distance distance = DistanceFromOracle(driver_, computed, sequence);
    EXPECT_GT(distance.num_positions, 0) << "sequence " << sequence.id;
    EXPECT_EQ(distance.num_top1_equal, distance.num_positions) << "sequence " << sequence.id;
    std::printf("sequence %d: %lld positions, worst difference %.3g\n", sequence.id,
                static_cast<long long>(distance.num_positions), distance.worst);
  }

  const Cell cell_ = {"reference", "fp8"};
  const TinyModel& model_ = TinyModelOf(cell_.form);
  const std::unique_ptr<kernels::Backend> backend_ = MakeBackend(cell_.backend);
  const std::unique_ptr<fakes::StageGroup> group_ = MakeGroup(cell_, backend_.get());
  fakes::SequenceDriver driver_{group_.get()};
};

TEST_F(ReferenceParity, GivesTheOraclesLogprobsAndAnswerBehindTheOriginalPositions) {
  const auto original = static_cast<size_t>(model_.config.yarn.original_max_positions);
  ASSERT_GT(original, 0u);
  const fakes::OracleSequence* found = nullptr;
  for (const fakes::OracleSequence& sequence : model_.sequences) {
    if (found == nullptr && sequence.prompt_ids.size() > original) found = &sequence;
  }
  ASSERT_NE(found, nullptr);
  int num_behind = 0;
  for (const fakes::OracleTop& top : found->top) num_behind += top.position >= original ? 1 : 0;
  EXPECT_GT(num_behind, 0);
  const uint64_t computed = ComputeOracleSequence(driver_, *found);
  ExpectOracle(computed, *found);
  ASSERT_FALSE(found->greedy_ids.empty());
  const std::vector<AnswerParting> partings =
      ContinueGreedily(driver_, {BeginContinuation(driver_, computed, *found)});
  ASSERT_EQ(partings.size(), 1u);
  EXPECT_EQ(partings[0].index, -1);
}

// Under sanitizers the first of them.
TEST_F(ReferenceParity, GivesTheOraclesLogprobsOfNoise) {
  int num_compared = 0;
  for (const fakes::OracleSequence& sequence : model_.sequences) {
    if (sequence.kind != "noise" || (IsSanitized() && num_compared > 0)) continue;
    const uint64_t computed = ComputeOracleSequence(driver_, sequence);
    ExpectOracle(computed, sequence);
    driver_.Finish(computed);
    ++num_compared;
  }
  EXPECT_GT(num_compared, 0);
}

}  // namespace
}  // namespace baton::conformance
