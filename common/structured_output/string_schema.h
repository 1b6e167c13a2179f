// JSON strings with a length, patterns and a format.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/structured_output/json_rules.h"

namespace baton::structured {

// A JSON string, with its quotes, for a flat schema's minLength, maxLength, pattern (or a list of
// them) and format. Lengths count characters; an escape counts as one. Formats: date, time,
// date-time, duration, uuid, email, ipv4, ipv6, hostname, uri. Errors: InvalidArgument naming
// keyword and path.
absl::StatusOr<ExprId> SpellString(const Json& schema, absl::string_view path,
                                   const JsonRules& rules, Grammar* grammar);

// Keys that are none of `names`, with their quotes. Errors: InvalidArgument for names of more than
// 256 characters.
absl::StatusOr<ExprId> SpellOtherKeys(const std::vector<std::string>& names, absl::string_view path,
                                      Grammar* grammar);

}  // namespace baton::structured
