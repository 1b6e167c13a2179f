// `baton dequantize IN_DIR OUT_DIR`.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace baton {

// `words`: the command line behind `baton dequantize`. Draws a progress bar on `err` if that is a
// terminal. Returns the exit code: 0, 1 (failed, with the reason on `err`), 2 (wrong command line).
int RunDequantize(const std::vector<std::string>& words, std::ostream& out, std::ostream& err);

}  // namespace baton
