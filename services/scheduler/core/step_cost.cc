#include "services/scheduler/core/step_cost.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace baton::scheduler {
namespace {

// Measurements that set the scale of all prices before they are told apart.
constexpr size_t kScalingSteps = 5;
// Standard deviation of a price before it is measured, as a part of the prior, and the most that
// forgetting may bring it back to.
constexpr double kPriorDeviation = 3.0;
// Of one measurement, as a part of itself: clocks of devices, other work on the machine.
constexpr double kNoise = 0.1;
// Growth of a price's variance with each step: half-forgotten after some hundred steps.
constexpr double kDrift = 1e-4;
constexpr double kLeastPrice = 1e-3;   // part of the prior
constexpr double kWildness = 3.0;      // standard deviations that a measurement is believed
constexpr double kErrorMemory = 0.02;  // weight of the newest step in the mean error

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

double CostTerms::operator*(const CostTerms& other) const {
  double sum = 0;
  for (size_t i = 0; i < kCount; ++i) sum += values[i] * other.values[i];
  return sum;
}

StageCost::StageCost(const CostTerms& prior) : prior_(prior), prices_(prior) {
  for (size_t i = 0; i < CostTerms::kCount; ++i) {
    if (prior.values[i] > 0) uncertainty_[i][i] = kPriorDeviation * kPriorDeviation;
  }
}

void StageCost::Scale(double ratio) {
  for (size_t i = 0; i < CostTerms::kCount; ++i) {
    prior_.values[i] *= ratio;
    prices_.values[i] *= ratio;
  }
}

void StageCost::Observe(const CostTerms& amounts, double seconds) {
  const double predicted = Seconds(amounts);
  if (!(seconds > 0) || !std::isfinite(seconds) || !(predicted > 0)) return;
  const double surprise = seconds / predicted - 1;
  if (first_ratios_.size() < kScalingSteps) {
    // Ratios to the prior as it was given: what was scaled since is taken out again.
    const double scale = first_ratios_.empty() ? 1 : Median(first_ratios_);
    first_ratios_.push_back(seconds / predicted * scale);
    Scale(Median(first_ratios_) / scale);
    return;
  }
  const double weight = std::max(kErrorMemory, 1.0 / static_cast<double>(++num_learned_));
  error_ += weight * (std::abs(surprise) - error_);
  Row shares;  // of the prediction, in units of the prior
  for (size_t i = 0; i < CostTerms::kCount; ++i) {
    shares[i] = prior_.values[i] * amounts.values[i] / predicted;
  }
  Update(shares, surprise);
}

void StageCost::Update(const Row& shares, double surprise) {
  constexpr size_t kCount = CostTerms::kCount;
  for (size_t i = 0; i < kCount; ++i) {
    if (prior_.values[i] > 0) uncertainty_[i][i] += kDrift;
  }
  Row direction = {};  // uncertainty times shares
  double variance = kNoise * kNoise;
  for (size_t i = 0; i < kCount; ++i) {
    for (size_t j = 0; j < kCount; ++j) direction[i] += uncertainty_[i][j] * shares[j];
    variance += direction[i] * shares[i];
  }
  const double bound = kWildness * std::sqrt(variance);
  const double step = std::clamp(surprise, -bound, bound) / variance;
  for (size_t i = 0; i < kCount; ++i) {
    prices_.values[i] = std::max(kLeastPrice * prior_.values[i],
                                 prices_.values[i] + prior_.values[i] * direction[i] * step);
    for (size_t j = 0; j < kCount; ++j) {
      uncertainty_[i][j] -= direction[i] * direction[j] / variance;
    }
  }
  for (size_t i = 0; i < kCount; ++i) {
    const double limit = kPriorDeviation * kPriorDeviation;
    if (uncertainty_[i][i] <= limit) continue;
    const double shrink = std::sqrt(limit / uncertainty_[i][i]);
    for (size_t j = 0; j < kCount; ++j) {
      uncertainty_[i][j] *= shrink;
      uncertainty_[j][i] *= shrink;
    }
  }
}

StepCost::StepCost(StepCostOptions options)
    : learns_(!options.prior.empty()), expert_share_(options.expert_share) {
  if (!learns_) options.prior = {CostTerms{.values = {0, 0, 1}}};
  for (const CostTerms& prior : options.prior) stages_.emplace_back(prior);
}

CostTerms StepCost::AmountsOf(const StepWork& work) const {
  const double tokens = static_cast<double>(work.tokens);
  return {.values = {1, 1 - std::pow(1 - expert_share_, tokens), tokens,
                     static_cast<double>(work.decode_kv), static_cast<double>(work.chunk_kv),
                     static_cast<double>(work.chunk_pairs), static_cast<double>(work.sampled),
                     static_cast<double>(work.absorbed_pairs)}};
}

void StepCost::Observe(const StepWork& work, const std::vector<double>& stage_seconds) {
  if (!learns_ || stage_seconds.size() != stages_.size() || work.tokens == 0) return;
  const CostTerms amounts = AmountsOf(work);
  for (size_t i = 0; i < stages_.size(); ++i) stages_[i].Observe(amounts, stage_seconds[i]);
  ++num_observations_;
}

double StepCost::Seconds(const StepWork& work) const {
  const CostTerms amounts = AmountsOf(work);
  double slowest = 0;
  for (const StageCost& stage : stages_) slowest = std::max(slowest, stage.Seconds(amounts));
  return slowest;
}

double StepCost::FixedSeconds() const {
  const CostTerms fixed{.values = {1, 1}};
  double slowest = 0;
  for (const StageCost& stage : stages_) slowest = std::max(slowest, stage.Seconds(fixed));
  return slowest;
}

StepCost::DecodePrice StepCost::PriceOfDecode(const StepWork& step) const {
  const CostTerms amounts = AmountsOf(step);
  const auto slowest = std::max_element(stages_.begin(), stages_.end(),
                                        [&amounts](const StageCost& a, const StageCost& b) {
                                          return a.Seconds(amounts) < b.Seconds(amounts);
                                        });
  const auto& prices = slowest->prices().values;
  // Experts that one more token adds to those that the step touches already.
  const double new_experts = expert_share_ * (1 - amounts.values[1]);
  return {.row = prices[1] * new_experts + prices[2] + prices[6], .position = prices[3]};
}

double StepCost::TokensOfExpansion(uint64_t context) const {
  const auto positions = static_cast<double>(context);
  double expansion = 0;
  double token = 0;
  for (const StageCost& stage : stages_) {
    const auto& prices = stage.prices().values;
    expansion += prices[4] * positions;
    token += prices[2] + prices[5] * positions;
  }
  return token > 0 ? expansion / token : 0;
}

}  // namespace baton::scheduler
