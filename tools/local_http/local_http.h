// One HTTP GET to a process on this machine.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace baton {

// Body of the answer to "GET `path`" from `host`:`port` if it is a 200. Waits at most `timeout` in
// all. Errors: Unavailable (no whole answer in time, or another code; the message is the body's
// first line).
absl::StatusOr<std::string> LocalHttpGet(const std::string& host, int port, const std::string& path,
                                         absl::Duration timeout);

}  // namespace baton
