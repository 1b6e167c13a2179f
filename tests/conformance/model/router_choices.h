// Which experts a run chooses, and how near it comes to choosing others.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

#include "services/stage_worker/model/activation_tap.h"
#include "tests/conformance/model/tiny_model.h"

namespace baton::conformance {

// Watches the routers of a run of one sequence, rows in the order of its positions.
class RouterChoices final : public stage::ActivationTap {
 public:
  struct Choice {
    // Between what was chosen and what was just not: of experts, or of groups.
    float gap = 0.0f;
    std::vector<int32_t> experts;  // ascending
  };

  explicit RouterChoices(const TinyModel* model) : model_(*model) {}

  void OnTensor(absl::string_view name, const TensorView& values) override;
  void OnExperts(absl::string_view name, std::span<const int32_t> experts) override;

  // By the layer's index in the model, row by row.
  const std::map<int, std::vector<Choice>>& by_layer() const { return by_layer_; }

 private:
  float GapOf(const float* logits, const std::vector<float>& bias) const;

  const TinyModel& model_;
  std::map<int, std::vector<Choice>> by_layer_;
};

// Where two runs of a sequence first choose other experts: the first position, and of its layers
// the first.
struct Parting {
  int64_t position = -1;  // -1: nowhere
  int layer = -1;
  float gap = 0.0f;  // of the reference's choice there
};

Parting FirstParting(const RouterChoices& expected, const RouterChoices& actual);

// Two experts nearer than this may swap between implementations in float32.
inline constexpr float kRouterTie = 1e-5f;

// Whether routers that part there excuse that a sequence leaves the oracle at `deviation`: only at
// the very position that first went wrong, or at one that the oracle says nothing of between it and
// the last right one, and only if the reference's choice there was nearer than `kRouterTie`.
bool Excuses(const Parting& parting, const Deviation& deviation);

// Runs the sequence on the reference and on the cell's backend with its ranks, both in float32 and
// without drafts, and says whether where they part excuses the deviation. Prints what it found.
bool IsRouterTie(const Cell& cell, kernels::Backend* backend, const fakes::OracleSequence& sequence,
                 const Deviation& deviation);

// How many near-ties the whole oracle has on a backend. None was met by the reference or any CPU
// variant, in any cell: one that comes is looked at, and then stands here. A GPU has not run yet.
int MostRouterTies(const std::string& backend);

}  // namespace baton::conformance
