// "Did you mean": the known name that is nearest to a mistyped one.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace baton {

// The candidate with the fewest edits (insert, delete, replace, swap of neighbours) to `name`, if
// that is at most a third of its length, or else the shortest candidate that starts with `name`.
// Empty if there is none. Candidates are tried in order; the first of equals wins.
std::string NearestName(absl::string_view name, const std::vector<std::string>& candidates);

}  // namespace baton
