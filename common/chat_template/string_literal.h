// Escapes in the texts of a template.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton {

// The text that stands between the quotes of a literal, with Python's escapes resolved; an unknown
// escape stays as it is. Errors: InvalidArgument for a broken \x, \u, \U or octal escape, for a
// surrogate and for \N.
absl::StatusOr<std::string> UnescapeString(absl::string_view literal);

}  // namespace baton
