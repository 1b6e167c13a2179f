// What a simulation found, as text for people and as JSON for programs.
#pragma once

#include <string>
#include <vector>

#include "tools/simulate/simulation.h"

namespace baton::simulate {

struct NamedResult {
  std::string name;
  SimulationResult result;
};

// One column per result.
std::string ReportAsText(const std::vector<NamedResult>& results);
std::string ReportAsJson(const std::vector<NamedResult>& results);

}  // namespace baton::simulate
