// bfloat16 arithmetic against the oracle: statistics, held against those of an independent bfloat16
// run that the oracle records.
#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/conformance/model/tiny_model.h"
#include "tests/conformance/sanitized.h"

namespace baton::conformance {
namespace {

constexpr double kAllowedFactor = 1.25;

// The statistics need the whole oracle: all cells on the best backend alone, one of each other one;
// under sanitizers two of the best, and none of others.
std::vector<Cell> BFloat16Cells() {
  std::vector<Cell> cells;
  const std::vector<std::string> backends = BackendNames();
  for (const std::string& backend : backends) {
    const bool best = backend == backends.back();
    // Hopper's kernels round activations to FP8, which the independent run did not.
    if (backend == "cuda" || (!best && IsSanitized())) continue;
    for (const char* form : {"fp8", "bf16"}) {
      for (int num_stages : {1, 2}) {
        for (int num_ranks : {1, 2, 4, 8}) {
          const bool is_fp8 = form == std::string("fp8");
          const bool whole_group = num_stages == 2 && num_ranks == 8;
          const bool smallest = num_stages == 1 && num_ranks == 1;
          const bool wanted =
              TakesWholeOracle(backend) || (best && !is_fp8 && smallest) ||
              (is_fp8 && (backend == "reference" ? smallest : whole_group)) ||
              (backend == "cuda_plain" && is_fp8 && num_stages == 2 && num_ranks == 1);
          const int num_devices = num_stages == 2 && num_ranks > 1 && !IsCuda(backend) ? 2 : 1;
          if (!wanted) continue;
          cells.push_back({backend, form, num_stages, num_ranks, num_devices, DataType::kBFloat16});
        }
      }
    }
  }
  return cells;
}

class ModelBFloat16 : public testing::TestWithParam<Cell> {};

TEST_P(ModelBFloat16, ErrsNoMoreThanTheIndependentRun) {
  const Cell& cell = GetParam();
  const auto recorded =
      fakes::ReadOracleErrors(TinyModelFolder() + "/oracle/summary.json", cell.form);
  ASSERT_TRUE(recorded.ok()) << recorded.status();
  const auto backend = MakeBackend(cell.backend);
  const auto group = MakeGroup(cell, backend.get());
  fakes::SequenceDriver driver(group.get());
  std::map<std::string, Distance> by_kind;
  Distance all;
  for (const fakes::OracleSequence& sequence : TinyModelOf(cell.form).sequences) {
    const Distance distance = CompareWithOracle(driver, sequence);
    by_kind[sequence.kind].Add(distance);
    all.Add(distance);
  }
  EXPECT_EQ(by_kind.size(), recorded->rms_by_kind.size());
  for (const auto& [kind, rms] : recorded->rms_by_kind) {
    ASSERT_GT(by_kind[kind].num_logprobs, 0) << kind;
    std::printf("%s %s: rms %.4f, independent run %.4f\n", NameOf(cell).c_str(), kind.c_str(),
                by_kind[kind].rms(), rms);
    EXPECT_LE(by_kind[kind].rms(), kAllowedFactor * rms) << kind;
  }
  const double agreement =
      static_cast<double>(all.num_top1_equal) / static_cast<double>(all.num_positions);
  std::printf("%s: top-1 agreement %.4f, independent run %.4f\n", NameOf(cell).c_str(), agreement,
              recorded->top1_agreement);
  EXPECT_GE(agreement, recorded->top1_agreement);
}

INSTANTIATE_TEST_SUITE_P(Matrix, ModelBFloat16, testing::ValuesIn(BFloat16Cells()),
                         [](const auto& cell) { return NameOf(cell.param); });

}  // namespace
}  // namespace baton::conformance
