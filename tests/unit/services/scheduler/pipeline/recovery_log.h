// What a step engine tells of losses and recoveries.
#pragma once

#include <vector>

#include "absl/time/time.h"

#include "tests/unit/services/scheduler/pipeline/simulated_group.h"

namespace baton::scheduler {

class RecoveryLog final : public QuietObserver {
 public:
  void OnStageLost(LossCause cause) override { losses.push_back(cause); }
  void OnRecovery(absl::Duration duration) override { recoveries.push_back(duration); }

  std::vector<LossCause> losses;
  std::vector<absl::Duration> recoveries;
};

}  // namespace baton::scheduler
