// The same bits with a prompt that is longer than a split of the sums of attention and than a step.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"

#include "kernels/api/attention.h"
#include "tests/conformance/model/model_invariance.h"
#include "tests/conformance/sanitized.h"

namespace baton::conformance {
namespace {

class LongModelInvariance : public ModelInvariance {
 protected:
  static constexpr size_t kLongSubject = 40;    // 609 tokens and an answer
  static constexpr uint32_t kLongPrompt = 620;  // a split ends at 512
  static_assert(kLongPrompt > kernels::kAttentionSplitTokens && kLongPrompt > kLargestStep);

  uint64_t AddLongSubject() {
    return driver_->Add(Prompt(GetParam(), kLongSubject, kLongPrompt), Sampling(17));
  }
  std::vector<uint32_t> RunLongAlone() {
    fakes::SequenceDriver& driver = Start(GetParam());
    const uint64_t id = AddLongSubject();
    EXPECT_EQ(driver.Generate(id, kDrawnTokens, kWhole), absl::OkStatus());
    EXPECT_EQ(driver.at(id).scores.size(), kLongPrompt - 1 + kDrawnTokens);
    return BitsOf(driver.at(id));
  }
};

// In chunks that end elsewhere than the splits, among others that have rows in every step.
TEST_P(LongModelInvariance, DoesNotDependOnChunksNorOnNeighboursThatStay) {
  const std::vector<uint32_t> alone = RunLongAlone();
  for (uint32_t chunk : {100u, 333u}) {
    if (chunk == 333u && IsSlow(GetParam().backend)) continue;
    fakes::SequenceDriver& driver = Start(GetParam());
    const uint64_t subject = AddLongSubject();
    std::vector<fakes::SequenceDriver::Part> parts;
    for (uint32_t i = 0; i < kOthers; ++i) {
      if (i == kOthers / 2) parts.push_back({subject, chunk});
      parts.push_back({driver.Add(Prompt(GetParam(), i, 9 + i % 3), Sampling(100 + i)), 9});
    }
    while (driver.num_drawn(subject) < kDrawnTokens)
      ASSERT_EQ(driver.Step(parts), absl::OkStatus());
    EXPECT_EQ(BitsOf(driver.at(subject)), alone) << "chunks of " << chunk;
    for (const auto& part : parts) {
      EXPECT_GE(driver.num_drawn(part.sequence_id), kDrawnTokens) << "they stay to the end";
    }
  }
}

class LongFastModelInvariance : public LongModelInvariance {};

TEST_P(LongFastModelInvariance, DoesNotDependOnPreemptionBehindASplit) {
  const std::vector<uint32_t> undisturbed = RunLongAlone();
  fakes::SequenceDriver& driver = Start(GetParam());
  const uint64_t subject = AddLongSubject();
  for (uint32_t chunk = 0; chunk < 4; ++chunk) {
    ASSERT_EQ(driver.Step({{subject, 150}}), absl::OkStatus());
  }
  ASSERT_EQ(driver.at(subject).num_computed, 600u);
  driver.Preempt(subject);
  DirtyFreedBlocks();
  for (uint32_t drawn : {1u, 4u, 6u}) {
    ASSERT_EQ(driver.Generate(subject, drawn, 200), absl::OkStatus());
    driver.Preempt(subject);
    DirtyFreedBlocks();
    ASSERT_EQ(driver.Prefill(subject, 90 * drawn), absl::OkStatus());
  }
  ASSERT_EQ(driver.Generate(subject, kDrawnTokens, kWhole), absl::OkStatus());
  EXPECT_EQ(BitsOf(driver.at(subject)), undisturbed);
}

TEST_P(LongFastModelInvariance, DoesNotDependOnStages) {
  const std::vector<uint32_t> one = RunLongAlone();
  fakes::SequenceDriver& driver = Start(
      {GetParam().backend, GetParam().form, 2, GetParam().num_ranks, 1, GetParam().compute_type});
  const uint64_t id = AddLongSubject();
  ASSERT_EQ(driver.Generate(id, kDrawnTokens, 200), absl::OkStatus());
  EXPECT_EQ(BitsOf(driver.at(id)), one);
}

// Of a slow backend and of a GPU one cell; under sanitizers none of a slow one.
std::vector<Cell> LongCells(bool with_slow) {
  std::vector<Cell> cells;
  std::string last;
  for (const Cell& cell : InvarianceCells()) {
    const bool slow = IsSlow(cell.backend);
    if (slow && (!with_slow || IsSanitized())) continue;
    if ((slow || IsCuda(cell.backend)) && cell.backend == last) continue;
    last = cell.backend;
    cells.push_back(cell);
  }
  return cells;
}

INSTANTIATE_TEST_SUITE_P(Matrix, LongModelInvariance, testing::ValuesIn(LongCells(true)),
                         [](const auto& cell) { return NameOf(cell.param); });
INSTANTIATE_TEST_SUITE_P(Matrix, LongFastModelInvariance, testing::ValuesIn(LongCells(false)),
                         [](const auto& cell) { return NameOf(cell.param); });
// A machine whose best variant is the portable one has no fast one.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LongFastModelInvariance);

}  // namespace
}  // namespace baton::conformance
