// `baton simulate`: what the scheduler makes of a load, without a device.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace baton::simulate {

// `words`: the command line behind `baton simulate`. Returns the exit code: 0, 1 (the trace cannot
// be read), 2 (the command line is wrong).
int RunSimulate(const std::vector<std::string>& words, std::ostream& out, std::ostream& err);

}  // namespace baton::simulate
