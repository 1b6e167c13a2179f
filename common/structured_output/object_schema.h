// JSON objects and arrays by schema.
#pragma once

#include <string>

#include "absl/status/statusor.h"

#include "common/structured_output/json_rules.h"

namespace baton::structured {

class SubschemaSpeller {
 public:
  virtual ~SubschemaSpeller() = default;
  // What `schema`, which stands at `path`, matches.
  virtual absl::StatusOr<ExprId> Spell(const Json& schema, const std::string& path, int depth) = 0;
};

struct ContainerSchema {
  const Json& schema;  // flat
  const std::string& path;
  int depth = 0;
  bool closed = true;  // unless it says otherwise
};

// properties in their order, then those that are required and not among them, then others if they
// are allowed. Errors: InvalidArgument naming keyword and path.
absl::StatusOr<ExprId> SpellObject(const ContainerSchema& object, const JsonRules& rules,
                                   SubschemaSpeller* speller, Grammar* grammar);

absl::StatusOr<ExprId> SpellArray(const ContainerSchema& array, const JsonRules& rules,
                                  SubschemaSpeller* speller, Grammar* grammar);

}  // namespace baton::structured
