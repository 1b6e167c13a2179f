// A deployment plan as a table for people and as JSON for programs.
#pragma once

#include <string>

#include "tools/plan/deployment_plan.h"
#include "tools/plan/step_cost_report.h"

namespace baton {

// `title` names the model.
std::string PlanAsText(const DeploymentPlan& plan, const std::string& title);

// Keys as in DeploymentPlan, sizes in bytes; "step_cost" has the prices by stage and term, in
// seconds, and what they predict.
std::string PlanAsJson(const DeploymentPlan& plan, const StepCostReport& cost,
                       const std::string& title);

}  // namespace baton
