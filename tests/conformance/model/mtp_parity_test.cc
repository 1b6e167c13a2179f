// The MTP module in float32 against the oracle: the sharp test of what drafts are made of.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "common/tensor/bfloat16.h"
#include "services/stage_worker/model/activation_tap.h"
#include "tests/conformance/model/router_choices.h"
#include "tests/conformance/model/tiny_model.h"

namespace baton::conformance {
namespace {

constexpr double kMtpTolerance = 2e-3;

const std::map<int, std::vector<fakes::OracleTop>>& MtpOracle() {
  static const auto* const kOracle = [] {
    auto read = fakes::ReadMtpOracle(TinyModelFolder() + "/oracle/mtp-fp8.jsonl");
    BATON_CHECK_OK(read.status());
    return new std::map<int, std::vector<fakes::OracleTop>>(*std::move(read));
  }();
  return *kOracle;
}

// The module's rows behind its last norm, in the order of their positions.
class MtpRows final : public stage::ActivationTap {
 public:
  void OnTensor(absl::string_view name, const TensorView& values) override {
    if (name != "mtp.norm") return;
    for (int64_t row = 0; row < values.rows; ++row) {
      rows_.emplace_back(values.Row<float>(row), values.Row<float>(row) + values.columns);
    }
  }
  void OnExperts(absl::string_view, std::span<const int32_t>) override {}

  std::vector<std::vector<float>> Take() { return std::exchange(rows_, {}); }

 private:
  std::vector<std::vector<float>> rows_;
};

// Log-probabilities of one row, by the module's head as the checkpoint stores it.
std::vector<double> LogprobsOf(const std::vector<float>& row) {
  const TinyModel& model = TinyModelOf("fp8");
  const fakes::MemoryTensor& head = model.checkpoint.tensors().at(
      "model.layers." + std::to_string(model.config.num_layers) + ".shared_head.head.weight");
  const auto* weights = reinterpret_cast<const BFloat16*>(head.bytes.data());
  std::vector<double> logits(static_cast<size_t>(head.rows), 0.0);
  for (size_t token = 0; token < logits.size(); ++token) {
    for (size_t i = 0; i < row.size(); ++i) {
      logits[token] += double{row[i]} * double{ToFloat(weights[token * row.size() + i])};
    }
  }
  const double best = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - best);
  for (double& logit : logits) logit -= best + std::log(sum);
  return logits;
}

std::vector<Cell> MtpCells() {
  std::vector<Cell> cells;
  for (const std::string& backend : BackendNames()) {
    for (int num_stages : {1, 2}) {
      for (int num_ranks : {1, 2, 4, 8}) {
        const int num_devices = num_stages == 2 && num_ranks > 1 ? 2 : 1;
        cells.push_back(
            {backend, "fp8", num_stages, num_ranks, num_devices, DataType::kFloat32, 1});
      }
    }
  }
  return FewerUnderSanitizers(cells);
}

class MtpParity : public testing::TestWithParam<Cell> {};

TEST_P(MtpParity, PredictsAsTheOracle) {
  const auto backend = MakeBackend(GetParam().backend);
  MtpRows tap;
  const auto group = MakeGroup(GetParam(), backend.get(), &tap);
  fakes::SequenceDriver driver(group.get());
  const size_t share = IsSlow(GetParam().backend) ? 16 : 4;
  double worst = 0;
  int num_router_ties = 0;
  size_t num_compared = 0;
  size_t num_sequences = 0;
  for (const fakes::OracleSequence& sequence : TinyModelOf("fp8").sequences) {
    const auto tops = MtpOracle().find(sequence.id);
    if (tops == MtpOracle().end() || num_sequences++ % share != 0) continue;
    tap.Take();
    const uint64_t id = driver.Add(sequence.AllIds(), {});
    ASSERT_TRUE(driver.Prefill(id, 61).ok());
    const std::vector<std::vector<float>> rows = tap.Take();
    ASSERT_EQ(rows.size(), sequence.AllIds().size());
    Deviation deviation;
    for (const fakes::OracleTop& top : tops->second) {
      const std::vector<double> logprobs = LogprobsOf(rows[top.position]);
      double farthest = 0;
      for (size_t i = 0; i < top.ids.size(); ++i) {
        const double error = std::abs(logprobs[top.ids[i]] - double{top.logprobs[i]});
        ++num_compared;
        if (!(error <= farthest)) farthest = error;  // NaN too
      }
      if (!(farthest <= worst)) worst = farthest;
      if (deviation.position >= 0) continue;
      if (farthest <= kMtpTolerance) {
        deviation.last_right = top.position;
      } else {
        deviation.position = top.position;
      }
    }
    driver.Finish(id);
    if (deviation.position < 0) continue;
    // Of the model's own routers: the module's are left out.
    ++num_router_ties;
    EXPECT_TRUE(IsRouterTie(GetParam(), backend.get(), sequence, deviation))
        << "sequence " << sequence.id << " at position " << deviation.position;
  }
  EXPECT_GT(num_compared, 100u);
  EXPECT_LE(num_router_ties, MostRouterTies(GetParam().backend));
  std::printf(
      "%s: %zu log-probabilities, worst difference %.3g; excused: %d near-ties of routers\n",
      NameOf(GetParam()).c_str(), num_compared, worst, num_router_ties);
}

INSTANTIATE_TEST_SUITE_P(Matrix, MtpParity, testing::ValuesIn(MtpCells()),
                         [](const auto& cell) { return NameOf(cell.param); });

}  // namespace
}  // namespace baton::conformance
