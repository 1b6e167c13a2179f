// A deployment plan as a table for people and as JSON for programs.
#pragma once

#include <string>

#include "tools/plan/deployment_plan.h"

namespace baton {

// `title` names the model.
std::string PlanAsText(const DeploymentPlan& plan, const std::string& title);

// Keys as in DeploymentPlan, sizes in bytes.
std::string PlanAsJson(const DeploymentPlan& plan, const std::string& title);

}  // namespace baton
