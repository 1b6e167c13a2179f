// Activations layer by layer against the oracle's: prints a table and names the first wrong one.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "common/tensor/bfloat16.h"
#include "tests/conformance/model/tiny_model.h"

namespace baton::conformance {
namespace {

// Keeps every activation, rows appended call by call.
class Recorder final : public stage::ActivationTap {
 public:
  void OnTensor(absl::string_view name, const TensorView& values) override {
    std::vector<float>& rows = Rows(name);
    for (int64_t row = 0; row < values.rows; ++row) {
      for (int64_t column = 0; column < values.columns; ++column) {
        rows.push_back(values.type == DataType::kFloat32
                           ? values.Row<float>(row)[column]
                           : ToFloat(values.Row<BFloat16>(row)[column]));
      }
    }
  }
  void OnExperts(absl::string_view name, std::span<const int32_t> experts) override {
    std::vector<float>& rows = Rows(name);
    rows.insert(rows.end(), experts.begin(), experts.end());
  }
  const std::vector<float>& at(const std::string& name) const { return tensors_.at(name); }

 private:
  std::vector<float>& Rows(absl::string_view name) { return tensors_[std::string(name)]; }

  std::map<std::string, std::vector<float>> tensors_;
};

// The oracle does not order the chosen experts: sorts each row's pairs of expert and weight.
void SortChoices(std::vector<float>& experts, std::vector<float>& weights, size_t top_k) {
  for (size_t row = 0; row < experts.size(); row += top_k) {
    std::vector<std::pair<float, float>> pairs;
    for (size_t i = row; i < row + top_k; ++i) pairs.emplace_back(experts[i], weights[i]);
    std::sort(pairs.begin(), pairs.end());
    for (size_t i = 0; i < top_k; ++i) {
      experts[row + i] = pairs[i].first;
      weights[row + i] = pairs[i].second;
    }
  }
}

double RelativeError(const std::vector<float>& actual, const std::vector<float>& expected) {
  double difference = 0.0;
  double norm = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    norm += std::pow(expected[i], 2);
  }
  return std::sqrt(difference / norm);
}

// Activations in the order in which they are computed.
std::vector<std::string> NamesInOrder(const ModelConfig& config) {
  std::vector<std::string> names = {"embed"};
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = "layers." + std::to_string(layer);
    names.push_back(prefix + ".self_attn");
    if (!config.is_dense_layer(layer)) {
      names.push_back(prefix + ".router.experts");
      names.push_back(prefix + ".router.weights");
    }
    names.push_back(prefix + ".mlp");
    names.push_back(prefix);
  }
  names.insert(names.end(), {"norm", "logits"});
  return names;
}

using Tensors = std::map<std::string, std::vector<float>>;

Tensors OracleLayers(const std::string& form) {
  Tensors layers;
  const auto tensors =
      fakes::ReadFloatTensors(TinyModelFolder() + "/oracle/layers-" + form + ".safetensors");
  EXPECT_TRUE(tensors.ok()) << tensors.status();
  if (!tensors.ok()) return layers;
  for (const auto& [name, tensor] : *tensors) layers[name] = tensor.values;
  return layers;
}

Tensors RunLayers(const Cell& cell, const std::vector<float>& token_ids,
                  const std::vector<std::string>& names) {
  Recorder recorder;
  const auto backend = MakeBackend(cell.backend);
  const auto group = MakeGroup(cell, backend.get(), &recorder);
  fakes::SequenceDriver driver(group.get());
  stage::SamplingSettings sampling;
  sampling.num_prompt_logprobs = 0;
  const uint64_t id = driver.Add({token_ids.begin(), token_ids.end()}, sampling);
  EXPECT_TRUE(driver.Prefill(id, 1000).ok());
  Tensors layers;
  for (const std::string& name : names) layers[name] = recorder.at(name);
  return layers;
}

class LayerDump : public testing::TestWithParam<Cell> {};

TEST_P(LayerDump, FollowsTheOracleThroughEveryLayer) {
  const Cell& cell = GetParam();
  const ModelConfig& config = TinyModelOf(cell.form).config;
  const std::vector<std::string> names = NamesInOrder(config);
  Tensors expected = OracleLayers(cell.form);
  Tensors actual = RunLayers(cell, expected.at("token_ids"), names);
  const bool exact = cell.compute_type == DataType::kFloat32;
  std::string first_wrong;
  std::printf("%-28s %12s\n", "activation", "relative L2");
  for (const std::string& name : names) {
    const size_t suffix = name.find(".router.experts");
    if (suffix != std::string::npos) {
      const std::string weights = name.substr(0, suffix) + ".router.weights";
      const size_t top_k = static_cast<size_t>(config.experts_per_token);
      SortChoices(expected[name], expected[weights], top_k);
      SortChoices(actual[name], actual[weights], top_k);
    }
    ASSERT_EQ(actual[name].size(), expected[name].size()) << name;
    const double error = RelativeError(actual[name], expected[name]);
    std::printf("%-28s %12.3g\n", name.c_str(), error);
    if (!(error <= (exact ? 2e-5 : 0.05)) && first_wrong.empty()) first_wrong = name;
    if (!exact && name == "layers.0") break;  // behind a router, bfloat16 may take other experts
  }
  EXPECT_EQ(first_wrong, "") << "the first wrong activation";
}

std::vector<Cell> DumpCells() {
  std::vector<Cell> cells;
  for (const std::string& backend : BackendNames()) {
    for (const char* form : {"fp8", "bf16"}) {
      cells.push_back({backend, form, 1, 1, 1, DataType::kFloat32});
      cells.push_back({backend, form, 2, 8, 1, DataType::kFloat32});
      cells.push_back({backend, form, 1, 1, 1, DataType::kBFloat16});
    }
  }
  return cells;
}

INSTANTIATE_TEST_SUITE_P(Matrix, LayerDump, testing::ValuesIn(DumpCells()),
                         [](const auto& cell) { return NameOf(cell.param); });

}  // namespace
}  // namespace baton::conformance
