// How near a run comes to choosing other experts.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "services/stage_worker/model/activation_tap.h"
#include "tests/conformance/model/tiny_model.h"

namespace baton::conformance {

// Watches the router's logits and keeps, per row in the order computed, the smallest gap over all
// layers between what was chosen and what was just not: of experts, or of groups.
class RouterGaps final : public stage::ActivationTap {
 public:
  explicit RouterGaps(const TinyModel* model) : model_(*model) {}

  void OnTensor(absl::string_view name, const TensorView& values) override;
  void OnExperts(absl::string_view name, std::span<const int32_t> experts) override {}

  // Smallest gap in rows [0, last_row].
  float SmallestUpTo(int64_t last_row) const;

 private:
  float GapOf(const float* logits, const std::vector<float>& bias) const;

  const TinyModel& model_;
  std::map<std::string, int64_t> rows_seen_;
  std::vector<float> gaps_;
};

}  // namespace baton::conformance
