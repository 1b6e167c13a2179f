// How a process that was told "any free port" tells its starter which it got.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace baton {

// Writes {"grpc": n, "metrics": n} to `path`: a reader sees the whole file or none. `metrics_port`
// 0: there is no metrics endpoint. Errors: Unavailable naming the path.
absl::Status WritePortsFile(const std::string& path, int grpc_port, int metrics_port);

}  // namespace baton
