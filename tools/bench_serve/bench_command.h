// `baton bench serve`: loads an OpenAI endpoint and reports what it saw.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace baton {

// `words`: the command line behind `baton bench`. Returns the exit code: 0 it ran, 1 the server
// gave no good answer or a file could not be written, 2 the command line is wrong.
int RunBench(const std::vector<std::string>& words, std::ostream& out, std::ostream& err);

}  // namespace baton
