// How long a stage computes a step, as a floor of memory and arithmetic divided by an efficiency.
// For DeepSeek-R1 the floors are tabulated: two stages of eight 4.3 TB/s devices.
#pragma once

#include <cstdint>
#include <vector>

#include "services/scheduler/core/step_cost.h"
#include "services/scheduler/core/step_work.h"

namespace baton::simulate {

class StageTimes final {
 public:
  // `num_stages`: 2 as tabulated; other counts share the sum of the two evenly, by layers. An
  // `efficiency` of 1 is the floor itself; has to be above 0.
  StageTimes(uint32_t num_stages, double efficiency);
  // Another model: floors of its stages, one set of prices each.
  StageTimes(const scheduler::StepCostOptions& floors, double efficiency);

  uint32_t num_stages() const {
    return static_cast<uint32_t>(others_.empty() ? shares_.size() : others_.size());
  }
  // 0 for a step without rows.
  double Seconds(uint32_t stage_index, const scheduler::StepWork& work) const;

 private:
  // Parts of the two tabulated stages, and layers, that a stage runs.
  struct Share {
    double first = 0;
    double second = 0;
    double layers = 0;
  };
  std::vector<Share> shares_;
  std::vector<scheduler::StepCost> others_;  // stages of another model
  double efficiency_;
};

// The prices that a scheduler of DeepSeek-R1 starts from, for `num_stages` stages of eight ranks.
scheduler::StepCostOptions R1StepCost(uint32_t num_stages);

}  // namespace baton::simulate
