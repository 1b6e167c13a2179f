// A sequence's tokens and log-probabilities have the same bits however it is computed: alone or
// among others, in chunks of any size, on any number of stages and devices, after preemption,
// behind a beginning that another sequence computed. Only the number of ranks may change them
// (other partial sums).
#include "tests/conformance/model/model_invariance.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/conformance/sanitized.h"

namespace baton::conformance {
namespace {

TEST_P(ModelInvariance, DoesNotDependOnChunks) { ExpectSameInChunks(); }

TEST_P(ModelInvariance, DoesNotDependOnNeighbours) { ExpectSameAmongNeighbours(); }

TEST_P(ModelInvariance, DoesNotDependOnStages) {
  const std::vector<uint32_t> one = RunAlone(GetParam(), kWhole);
  for (int num_stages : {2, 3, 8}) {
    Cell cell = GetParam();
    cell.num_stages = num_stages;
    EXPECT_EQ(RunAlone(cell, kWhole), one) << num_stages << " stages";
  }
}

TEST_P(ModelInvariance, DoesNotDependOnStepsOrderedAhead) {
  const std::vector<uint32_t> one = RunAlone(GetParam(), kWhole);
  for (int num_stages : {1, 2, 3}) {
    for (int num_devices : Possible({1, 2})) {
      Cell cell = GetParam();
      cell.num_stages = num_stages;
      cell.num_devices = num_devices;
      fakes::SequenceDriver& driver = Start(cell);
      const uint64_t id = AddSubject();
      const absl::Status status = driver.GenerateAhead(id, kDrawnTokens);
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_EQ(BitsOf(driver.at(id)), one)
          << num_stages << " stages, " << num_devices << " devices";
    }
  }
}

TEST_P(ModelInvariance, DoesNotDependOnDevices) {
  const std::vector<uint32_t> one = RunAlone(GetParam(), kWhole);
  for (int num_devices : Possible({2, GetParam().num_ranks})) {
    Cell cell = GetParam();
    cell.num_stages = 2;
    cell.num_devices = num_devices;
    EXPECT_EQ(RunAlone(cell, kWhole), one) << num_devices << " devices";
  }
}

TEST_P(ModelInvariance, DoesNotDependOnGraphs) {
  if (IsCuda(GetParam().backend)) GTEST_SKIP() << "all its steps of few rows run in graphs";
  if (IsSlow(GetParam().backend)) GTEST_SKIP() << "graphs are made of thousands of rows";
  Cell plain = GetParam();
  plain.absorbed = true;  // as all attention is on devices that keep graphs
  const std::vector<uint32_t> one = RunAlone(plain, kWhole);
  UseGraphs();
  for (int num_stages : {1, 2}) {
    Cell cell = GetParam();
    cell.num_stages = num_stages;
    cell.num_devices = std::min(num_stages, cell.num_ranks);
    const int num_devices = cell.num_stages * cell.num_devices;  // of all stages
    graph_counts_.made = graph_counts_.run = 0;
    EXPECT_EQ(RunAlone(cell, kWhole), one) << num_devices << " devices";
    const int num_made = graph_counts_.made;
    const int num_run = graph_counts_.run;
    EXPECT_GT(num_made, 0) << num_devices << " devices";
    // Each ran once before the first step. Of the steps, those of one row take few of them.
    EXPECT_GE(num_run - num_made, static_cast<int>(kDrawnTokens - 1) * num_devices);
    // Chunks of 7 rows run with one of padding.
    ASSERT_TRUE(group_->BeginEpoch().ok());
    driver_ = std::make_unique<fakes::SequenceDriver>(group_.get());
    const uint64_t id = AddSubject();
    ASSERT_TRUE(driver_->Generate(id, kDrawnTokens, 7).ok());
    EXPECT_EQ(BitsOf(driver_->at(id)), one) << num_devices << " devices, small chunks";
    EXPECT_EQ(graph_counts_.made, num_made);
    constexpr int kChunks = (kPromptTokens + 6) / 7;
    EXPECT_GE(graph_counts_.run - num_run,
              (kChunks + static_cast<int>(kDrawnTokens - 1)) * num_devices);
  }
}

TEST_P(ModelInvariance, DoesNotDependOnPreemption) { ExpectSameAfterPreemption(); }

// The beginning of the subject's prompt is a stranger's too, who goes on with other tokens.
TEST_P(ModelInvariance, DoesNotDependOnWhoComputedItsBeginning) {
  constexpr uint32_t kShared = 64;
  ASSERT_TRUE(RunAlone(GetParam(), kWhole).size() > 0);
  const std::vector<uint32_t> alone = BitsOf(driver_->at(1), kShared + 1);
  std::vector<uint32_t> strange = Prompt(GetParam(), kSubject, kShared);
  const std::vector<uint32_t> tail = Prompt(GetParam(), 46, 20);
  strange.insert(strange.end(), tail.begin(), tail.end());
  struct Way {
    const char* name;
    uint32_t before;  // tokens of the stranger that are computed in earlier steps
    bool gone;        // the stranger ends as soon as the subject has begun
  };
  for (const Way& way : {Way{"in the same step", 0, false}, Way{"in part before", 40, false},
                         Way{"before", kWhole, false}, Way{"and is gone", kWhole, true}}) {
    fakes::SequenceDriver& driver = Start(GetParam());
    const uint64_t other = driver.Add(strange, Sampling(3));
    const uint64_t subject = AddSubject();
    driver.Share(subject, other, kShared);
    if (way.before > 0) {
      ASSERT_TRUE(driver.Step({{other, way.before}}).ok());
    }
    ASSERT_TRUE(driver.Step({{other, kWhole}, {subject, kWhole}}).ok()) << way.name;
    if (way.gone) driver.Finish(other);
    ASSERT_TRUE(driver.Generate(subject, kDrawnTokens, kWhole).ok()) << way.name;
    EXPECT_EQ(driver.at(subject).scores.size(), kPromptTokens - 1 - kShared + kDrawnTokens);
    EXPECT_EQ(BitsOf(driver.at(subject), kShared + 1), alone) << way.name;
  }
}

// On two stages, against the bits of one.
class StagedModelInvariance : public ModelInvariance {};

TEST_P(StagedModelInvariance, DoesNotDependOnChunks) { ExpectSameInChunks(); }
TEST_P(StagedModelInvariance, DoesNotDependOnNeighbours) { ExpectSameAmongNeighbours(); }
TEST_P(StagedModelInvariance, DoesNotDependOnPreemption) { ExpectSameAfterPreemption(); }

// Of the best variant, ranks on two devices of each stage where there are some; under sanitizers
// one of each form.
std::vector<Cell> StagedCells() {
  std::vector<Cell> cells;
  for (const char* form : {"fp8", "bf16"}) {
    for (int num_ranks : {8, 1}) {
      if (IsSanitized() && (num_ranks == 8) != (form == std::string("fp8"))) continue;
      cells.push_back(
          {BackendNames().back(), form, 2, num_ranks, std::min(num_ranks, 2), DataType::kBFloat16});
    }
  }
  return cells;
}

INSTANTIATE_TEST_SUITE_P(Matrix, ModelInvariance, testing::ValuesIn(InvarianceCells()),
                         [](const auto& cell) { return NameOf(cell.param); });
INSTANTIATE_TEST_SUITE_P(Matrix, StagedModelInvariance, testing::ValuesIn(StagedCells()),
                         [](const auto& cell) { return NameOf(cell.param); });

}  // namespace
}  // namespace baton::conformance
