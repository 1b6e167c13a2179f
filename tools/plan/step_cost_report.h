// What steps cost on a group: from the sizes of the model, or as a running scheduler has measured.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/model/model_config.h"
#include "services/scheduler/core/step_cost.h"
#include "tools/plan/deployment_plan.h"

namespace baton {

struct StepCostReport {
  std::string source;         // where the prices are from, in words
  double measured_steps = 0;  // that they follow; 0: none
  std::vector<double>
      errors;  // of each stage's predictions, |measured / predicted - 1|; may be empty
  scheduler::StepCostOptions prices;
};

// The floor of the planned stages, on devices as fast as an H200.
StepCostReport StepCostFloor(const ModelConfig& config, const DeploymentPlan& plan);

// From the text of a scheduler's /metrics. Errors: NotFound if it has no prices,
// FailedPrecondition if it is of another number of stages.
absl::StatusOr<StepCostReport> ParseStepCostMetrics(const std::string& text, size_t num_stages);

// The same from `url`, such as http://127.0.0.1:9092/metrics. Errors besides: InvalidArgument (no
// such URL), Unavailable.
absl::StatusOr<StepCostReport> FetchStepCost(const std::string& url, size_t num_stages);

// A step as an example of what the prices say.
struct StepExample {
  std::string name;
  scheduler::StepWork work;
};
std::vector<StepExample> StepExamples();

std::string StepCostAsText(const StepCostReport& report);

}  // namespace baton
