// A whole small file.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace baton {

// The bytes of the file. Errors, naming the path: NotFound; Unavailable when it cannot be read;
// InvalidArgument when it has more than `max_bytes` or is no regular file.
absl::StatusOr<std::string> ReadTextFile(const std::string& path, size_t max_bytes);

}  // namespace baton
