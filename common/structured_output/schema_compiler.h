// JSON schemas as grammars.
//
// Supported: type, enum, const, properties, required, additionalProperties, minProperties and
// maxProperties (without properties), items, prefixItems, minItems, maxItems, minLength, maxLength,
// pattern, format, minimum, maximum, exclusiveMinimum, exclusiveMaximum, anyOf, oneOf (whose
// branches must be disjoint for a reason that can be seen), allOf (merged), $ref into the schema
// itself, also recursive, true and false. Everything else that JSON schema knows is refused by
// keyword and path.
//
// What is matched is less than the standard allows: properties come in the order of the schema,
// other ones behind them; bounded numbers have no exponent, integers no fraction; strings under
// patterns and constants are escaped only where JSON asks for it.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/structured_output/json_rules.h"

namespace baton::structured {

struct SchemaOptions {
  JsonStyle style;
  // As the standard says: objects take properties that the schema does not name, and keywords for
  // one type leave the others alone. Otherwise, as those who ask a model for JSON mean it: an
  // object with `properties` has no others unless additionalProperties says so, a list with
  // `prefixItems` ends behind them unless items says so, and a schema without `type` is for the
  // types that its keywords are for. Requests get the latter; tests compare both.
  bool literal = false;
};

// Adds the rules; the result matches the instances. Errors: InvalidArgument naming what is wrong,
// or not supported, and where; the budget's.
absl::StatusOr<ExprId> CompileSchema(absl::string_view schema_json, const SchemaOptions& options,
                                     Grammar* grammar);

}  // namespace baton::structured
