// Schemas that must hold together, as one schema.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/structured_output/compile_budget.h"
#include "common/structured_output/json_rules.h"

namespace baton::structured {

// Works on one document.
class SchemaMerger final {
 public:
  // Both must outlive the merger.
  SchemaMerger(const Json* document, CompileBudget* budget)
      : document_(*document), budget_(*budget) {}

  // What `ref` ("#", "#/$defs/x") points to in the document. Errors: InvalidArgument.
  absl::StatusOr<const Json*> Resolve(absl::string_view ref, absl::string_view path) const;

  // `schema` with $ref and allOf at its top resolved; "enum": [] where nothing matches. In its
  // "pattern" may stand a list of patterns. Errors: InvalidArgument for what cannot be merged,
  // naming keyword and path; references that lead back to themselves; the budget's.
  absl::StatusOr<Json> Flatten(const Json& schema, absl::string_view path, int depth) const;

  // A schema, flat if both are, that holds where both hold. Errors: as above.
  absl::StatusOr<Json> Merge(const Json& a, const Json& b, absl::string_view path) const;

 private:
  absl::Status MergeKeyword(const std::string& name, const Json& value, absl::string_view path,
                            Json* out) const;
  absl::StatusOr<Json> MergeAlternatives(const Json& a, const Json& b, const char* keyword,
                                         absl::string_view path) const;

  const Json& document_;
  CompileBudget& budget_;
};

// The names in "type", or all of them if there is none.
std::vector<std::string> TypesOf(const Json& schema);

}  // namespace baton::structured
