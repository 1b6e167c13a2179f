// Command lines of the project's programs: absl flags under vLLM's spelling.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace baton {

struct ProgramDescription {
  std::string name;     // "baton-scheduler"
  std::string summary;  // one line
  std::string example;  // a command to copy
};

// Parses `argv` into the program's absl flags and returns what is not a flag. `--max-num-seqs 8`,
// `--max-num-seqs=8` and `--max_num_seqs=8` are the same. A flag that is not on the command line is
// taken from the environment: BATON_MAX_NUM_SEQS. `--help` prints summary, example and this
// program's own flags with defaults, and exits 0; an unknown flag or a bad value prints the reason
// and the nearest flag, and exits 2. Booleans: `--flag`, `--no-flag`, `--flag=false`. A flag of
// type std::vector<std::string> takes all words up to the next flag, and may be repeated; for
// others the last one wins. `--` ends the flags. Every program also has `--log-level`
// (debug|info|warning|error), which is applied here, and `--version`. Call once, first in main.
std::vector<std::string> ParseCommandLine(const ProgramDescription& program, int argc, char** argv);

}  // namespace baton
