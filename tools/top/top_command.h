// `baton top`: a live view of a group, from the metrics of its processes.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace baton {

// `words`: the command line behind `baton top`. Returns the exit code: 0 ended by the user, or one
// frame printed; 1 no process answers (--once), no state file; 2 the command line is wrong.
int RunTop(const std::vector<std::string>& words, std::ostream& out, std::ostream& err);

}  // namespace baton
