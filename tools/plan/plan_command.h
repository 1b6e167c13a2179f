// `baton plan MODEL_DIR`: prints what a model needs and refuses what cannot work, before anything
// claims a device.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace baton {

// `words`: the command line behind `baton plan`. Returns the exit code: 0 it works, 1 it does not
// (the report says why and what would), 2 the command line is wrong.
int RunPlan(const std::vector<std::string>& words, std::ostream& out, std::ostream& err);

}  // namespace baton
