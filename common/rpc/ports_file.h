// How a process that was told "any free port" tells its starter which it got.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"

namespace baton {

// Writes `ports` by name, {"grpc": 50052, "metrics": 9092}, to `path`: a reader sees the whole file
// or none. Port 0: this process has no such endpoint. Errors: Unavailable naming the path.
absl::Status WritePortsFile(const std::string& path, const std::map<std::string, int>& ports);

}  // namespace baton
