// `baton plan MODEL_DIR`: prints what a model needs and refuses what cannot work, before anything
// claims a device.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "tools/plan/step_cost_report.h"

namespace baton {

// Asks a scheduler: FetchStepCost, but for tests.
using StepCostSource =
    std::function<absl::StatusOr<StepCostReport>(const std::string& url, size_t num_stages)>;

// `words`: the command line behind `baton plan`. Returns the exit code: 0 it works, 1 it does not
// (the report says why and what would), 2 the command line is wrong. Calls `source` only for a URL
// of the command line.
int RunPlan(const std::vector<std::string>& words, std::ostream& out, std::ostream& err,
            const StepCostSource& source = FetchStepCost);

}  // namespace baton
