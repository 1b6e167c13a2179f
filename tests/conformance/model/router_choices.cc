#include "tests/conformance/model/router_choices.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

#include "common/log/check.h"

namespace baton::conformance {
namespace {

// The distance between the `kept`-th and the next largest value.
float GapBehind(std::vector<float> values, int64_t kept) {
  if (kept >= static_cast<int64_t>(values.size())) return std::numeric_limits<float>::infinity();
  std::sort(values.begin(), values.end(), std::greater<float>());
  return values[static_cast<size_t>(kept - 1)] - values[static_cast<size_t>(kept)];
}

// The layer of a tensor "layers.N<suffix>"; -1: another tensor.
int LayerOf(absl::string_view name, absl::string_view suffix) {
  int layer = -1;
  if (!absl::ConsumeSuffix(&name, suffix) || !absl::ConsumePrefix(&name, "layers.")) return -1;
  return absl::SimpleAtoi(name, &layer) ? layer : -1;
}

// On one stage and one device, on which no bit of a result depends.
RouterChoices ChoicesOf(const Cell& cell, kernels::Backend* backend,
                        const fakes::OracleSequence& sequence) {
  RouterChoices choices(&TinyModelOf(cell.form));
  const auto group = MakeGroup(cell, backend, &choices);
  fakes::SequenceDriver driver(group.get());
  CompareWithOracle(driver, sequence);
  return choices;
}

}  // namespace

float RouterChoices::GapOf(const float* logits, const std::vector<float>& bias) const {
  const ModelConfig& config = model_.config;
  const int64_t group_size = config.num_experts / config.num_expert_groups;
  std::vector<float> choice(bias.size());
  for (size_t i = 0; i < choice.size(); ++i) {
    choice[i] = 1.0f / (1.0f + std::exp(-logits[i])) + bias[i];
  }
  std::vector<std::vector<float>> groups;
  std::vector<float> group_scores;
  for (int64_t group = 0; group < config.num_expert_groups; ++group) {
    const auto begin = choice.begin() + group * group_size;
    std::vector<float> members(begin, begin + group_size);
    std::sort(members.begin(), members.end(), std::greater<float>());
    group_scores.push_back(members[0] + members[1]);
    groups.push_back(std::move(members));
  }
  const float group_gap = GapBehind(group_scores, config.num_kept_groups);
  std::vector<float> sorted = group_scores;
  std::sort(sorted.begin(), sorted.end(), std::greater<float>());
  const float threshold = sorted[static_cast<size_t>(config.num_kept_groups - 1)];
  std::vector<float> competing;
  for (size_t group = 0; group < groups.size(); ++group) {
    if (group_scores[group] < threshold) continue;
    competing.insert(competing.end(), groups[group].begin(), groups[group].end());
  }
  return std::min(group_gap, GapBehind(competing, config.experts_per_token));
}

void RouterChoices::OnTensor(absl::string_view name, const TensorView& values) {
  const int layer = LayerOf(name, ".router.logits");
  if (layer < 0) return;
  const fakes::MemoryTensor& stored = model_.checkpoint.tensors().at(
      absl::StrCat("model.layers.", layer, ".mlp.gate.e_score_correction_bias"));
  std::vector<float> bias(static_cast<size_t>(stored.columns));
  std::memcpy(bias.data(), stored.bytes.data(), stored.bytes.size());
  for (int64_t row = 0; row < values.rows; ++row) {
    by_layer_[layer].push_back({GapOf(values.Row<float>(row), bias), {}});
  }
}

// Comes behind the logits of the same rows.
void RouterChoices::OnExperts(absl::string_view name, std::span<const int32_t> experts) {
  const int layer = LayerOf(name, ".router.experts");
  if (layer < 0) return;
  std::vector<Choice>& choices = by_layer_.at(layer);
  const auto top_k = static_cast<size_t>(model_.config.experts_per_token);
  const size_t num_rows = experts.size() / top_k;
  BATON_CHECK(choices.size() >= num_rows);
  for (size_t row = 0; row < num_rows; ++row) {
    const std::span<const int32_t> chosen = experts.subspan(row * top_k, top_k);
    Choice& choice = choices[choices.size() - num_rows + row];
    choice.experts.assign(chosen.begin(), chosen.end());
    std::sort(choice.experts.begin(), choice.experts.end());
  }
}

Parting FirstParting(const RouterChoices& expected, const RouterChoices& actual) {
  Parting first;
  for (const auto& [layer, choices] : expected.by_layer()) {
    const std::vector<RouterChoices::Choice>& others = actual.by_layer().at(layer);
    BATON_CHECK(others.size() == choices.size());
    for (size_t row = 0; row < choices.size(); ++row) {
      if (choices[row].experts == others[row].experts) continue;
      const auto position = static_cast<int64_t>(row);
      if (first.position < 0 || position < first.position) {
        first = {position, layer, choices[row].gap};
      }
      break;
    }
  }
  return first;
}

bool Excuses(const Parting& parting, const Deviation& deviation) {
  return parting.position > deviation.last_right && parting.position <= deviation.position &&
         parting.gap < kRouterTie;
}

bool IsRouterTie(const Cell& cell, kernels::Backend* backend, const fakes::OracleSequence& sequence,
                 const Deviation& deviation) {
  const auto reference = MakeBackend("reference");
  const Parting parting = FirstParting(
      ChoicesOf({"reference", cell.form, 1, 1, 1, DataType::kFloat32}, reference.get(), sequence),
      ChoicesOf({cell.backend, cell.form, 1, cell.num_ranks, 1, DataType::kFloat32}, backend,
                sequence));
  const bool excused = Excuses(parting, deviation);
  std::printf(
      "%s: sequence %d leaves the oracle at position %lld, right until %lld; routers part at "
      "position %lld in layer %d at a gap of %g: %s\n",
      NameOf(cell).c_str(), sequence.id, static_cast<long long>(deviation.position),
      static_cast<long long>(deviation.last_right), static_cast<long long>(parting.position),
      parting.layer, static_cast<double>(parting.gap), excused ? "excused" : "no excuse");
  return excused;
}

int MostRouterTies(const std::string& backend) { return IsCuda(backend) ? 1 : 0; }

}  // namespace baton::conformance
