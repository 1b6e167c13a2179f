// A template's source as a tree.
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/chat_template/syntax.h"

namespace baton {

// Errors: InvalidArgument with the line for what is no template, for a statement, filter, test or
// function that is not supported, and for more than `max_depth` levels of nesting.
absl::StatusOr<Block> ParseTemplate(absl::string_view source, size_t max_depth);

}  // namespace baton
