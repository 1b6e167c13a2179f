// Names for answers and their parts.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace baton::gateway {

// `prefix` and 128 random bits as 32 hexadecimal digits. Any thread.
std::string RandomId(absl::string_view prefix);

}  // namespace baton::gateway
