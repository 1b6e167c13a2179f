// `baton mini-r1`: writes a random-weight checkpoint of DeepSeek-R1's architecture.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace baton {

// `words` after "mini-r1". Returns the exit status: 2 for a wrong command line.
int RunMiniR1(const std::vector<std::string>& words, std::ostream& out, std::ostream& err);

}  // namespace baton
