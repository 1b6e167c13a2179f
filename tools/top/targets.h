// Which processes `baton top` asks.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace baton::top {

struct Target {
  std::string name;  // "stage-worker-0"; for a URL the URL, until its metrics say what it is
  std::string host;
  int port = 0;
  std::string path = "/metrics";
};

// Of the file that `baton serve --state-file` writes. Errors: NotFound (no such file: no group
// serves), InvalidArgument (not such a file).
absl::StatusOr<std::vector<Target>> ReadStateFile(const std::string& path);

// "http://HOST:PORT[/PATH]" or "HOST:PORT". Errors: InvalidArgument.
absl::StatusOr<Target> ParseTarget(const std::string& url);

// Where the four roles listen if nothing else is said.
std::vector<Target> DefaultTargets();

}  // namespace baton::top
