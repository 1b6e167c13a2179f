// Which keywords of JSON schema (2020-12, and `definitions` of older drafts) mean something here.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "common/structured_output/json_rules.h"

namespace baton::structured {

// InvalidArgument "JSON schema at `path`: `problem`".
absl::Status SchemaError(absl::string_view path, absl::string_view problem);

// Every keyword of `schema`, an object: known with a value of the right kind, or an annotation, or
// no keyword of JSON schema at all (which means nothing by the standard). Errors: InvalidArgument
// naming keyword and path.
absl::Status CheckKeywords(const Json& schema, absl::string_view path);

// Keywords that mean what the standard says or less, and those that are refused.
std::vector<absl::string_view> SupportedKeywords();
std::vector<absl::string_view> UnsupportedKeywords();

// Whether the keyword restricts what matches, as opposed to annotations and definitions.
bool Restricts(absl::string_view keyword);

}  // namespace baton::structured
