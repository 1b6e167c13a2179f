// How long a stage takes for a step: a sum of terms, each a price times what the step has of it.
// Prices start from what the model's sizes say and follow what the stages report.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "services/scheduler/core/step_work.h"

namespace baton::scheduler {

// Prices of one stage, in seconds per unit; or amounts of a step, in units.
struct CostTerms {
  static constexpr size_t kCount = 8;
  // Names for metrics, in the order of `values`.
  static constexpr std::array<const char*, kCount> kNames = {
      "step",     "experts",    "token",   "decode_kv",
      "chunk_kv", "chunk_pair", "sampled", "absorbed_pair"};

  // In order: the step itself; part of the routed experts that it touches, 0 to 1; and as in
  // StepWork: tokens, decode_kv, chunk_kv, chunk_pairs, sampled, absorbed_pairs.
  std::array<double, kCount> values = {};

  double operator*(const CostTerms& other) const;
};

// Prices of one stage, learned. Each measurement moves the prices as far as it is trusted: in the
// directions in which they are least known (recursive least squares on relative errors, the
// uncertainty growing a little with every step, so that old steps are forgotten). Prices stay
// above 0, and a single wild measurement moves them by three standard deviations at most.
class StageCost final {
 public:
  // A price that is 0 stays 0. The first measurements scale all prices alike: `prior` has to have
  // the proportions of the terms about right, not the speed of the device.
  explicit StageCost(const CostTerms& prior);

  // `seconds` were measured for a step of `amounts`; has no effect unless it is above 0 and finite.
  void Observe(const CostTerms& amounts, double seconds);
  double Seconds(const CostTerms& amounts) const { return prices_ * amounts; }
  const CostTerms& prices() const { return prices_; }
  // Running mean of |measured / predicted - 1|, each predicted before it was learned from; 0 while
  // the scale is not set.
  double error() const { return error_; }

 private:
  using Row = std::array<double, CostTerms::kCount>;

  void Scale(double ratio);
  void Update(const Row& shares, double surprise);

  CostTerms prior_;
  CostTerms prices_;
  std::array<Row, CostTerms::kCount> uncertainty_ = {};  // covariance of prices / prior
  std::vector<double> first_ratios_;                     // measured / predicted, to set the scale
  double error_ = 0;
  uint64_t num_learned_ = 0;  // measurements behind those that set the scale
};

struct StepCostOptions {
  // By stage. Empty: nothing is known or learned, and a step costs its tokens.
  std::vector<CostTerms> prior;
  // Part of the routed experts that one token uses; 0: there are none.
  double expert_share = 0;
};

// The slowest stage sets the pace of a pipeline, so a step costs what it takes there.
class StepCost final {
 public:
  explicit StepCost(StepCostOptions options);

  // Stages took `stage_seconds` for `work`; has no effect unless there is one for each stage.
  void Observe(const StepWork& work, const std::vector<double>& stage_seconds);
  // On the slowest stage.
  double Seconds(const StepWork& work) const;
  // What every step pays that uses all experts, however little it does: what cutting one in two
  // costs. On the slowest stage.
  double FixedSeconds() const;
  // What one more sequence of `context` tokens adds to a step that generates for `rows` of them:
  // row + context * position.
  struct DecodePrice {
    double row = 0;
    double position = 0;
  };
  DecodePrice PriceOfDecode(const StepWork& step) const;
  // What a chunk of a prompt behind `context` tokens pays for these, where prompts are expanded,
  // however short it is: making their keys and values. In tokens of the chunk that take as long; on
  // all stages together.
  double TokensOfExpansion(uint64_t context) const;

  // False: everything costs its tokens.
  bool learns() const { return learns_; }
  double expert_share() const { return expert_share_; }
  const std::vector<StageCost>& stages() const { return stages_; }
  uint64_t num_observations() const { return num_observations_; }

 private:
  CostTerms AmountsOf(const StepWork& work) const;

  const bool learns_;
  const double expert_share_;
  std::vector<StageCost> stages_;
  uint64_t num_observations_ = 0;
};

}  // namespace baton::scheduler
