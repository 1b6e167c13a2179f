#include "common/structured_output/schema_disjoint.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace baton::structured {
namespace {

constexpr int kDeepest = 8;

// The values that a schema lists.
std::optional<Json> ValuesOf(const Json& schema) {
  if (schema.contains("const")) return Json::array({schema["const"]});
  if (schema.contains("enum")) return schema["enum"];
  return std::nullopt;
}

std::string TypeOf(const Json& value) {
  if (value.is_object()) return "object";
  if (value.is_array()) return "array";
  if (value.is_string()) return "string";
  if (value.is_number()) return "number";
  return value.is_boolean() ? "boolean" : "null";
}

// With "number" for integers too.
std::vector<std::string> WideTypesOf(const Json& schema) {
  std::vector<std::string> types;
  if (const std::optional<Json> values = ValuesOf(schema)) {
    for (const Json& value : *values) types.push_back(TypeOf(value));
    return types;
  }
  types = TypesOf(schema);
  std::replace(types.begin(), types.end(), std::string("integer"), std::string("number"));
  return types;
}

template <typename List>
bool Overlap(const List& a, const List& b) {
  return std::any_of(a.begin(), a.end(), [&b](const auto& item) {
    return std::find(b.begin(), b.end(), item) != b.end();
  });
}

bool Requires(const Json& schema, const std::string& name) {
  if (!schema.contains("required")) return false;
  const Json& required = schema["required"];
  return std::find(required.begin(), required.end(), Json(name)) != required.end();
}

bool Forbids(const Json& schema, const std::string& name, bool closed) {
  const bool has = schema.contains("properties");
  if (has && schema["properties"].contains(name)) return schema["properties"][name] == false;
  if (schema.contains("additionalProperties")) return schema["additionalProperties"] == false;
  return closed && has;
}

}  // namespace

bool AreDisjoint(const Json& a, const Json& b, bool closed, const SchemaMerger& merger, int depth) {
  if (depth > kDeepest) return false;
  if (!Overlap(WideTypesOf(a), WideTypesOf(b))) return true;
  const std::optional<Json> a_values = ValuesOf(a);
  const std::optional<Json> b_values = ValuesOf(b);
  if (a_values && b_values) return !Overlap(*a_values, *b_values);
  const std::vector<std::string> only_objects = {"object"};
  if (TypesOf(a) != only_objects || TypesOf(b) != only_objects) return false;
  const auto forbids_required = [closed](const Json& one, const Json& other) {
    return one.contains("required") &&
           std::any_of(one["required"].begin(), one["required"].end(), [&](const Json& name) {
             return Forbids(other, name.get<std::string>(), closed);
           });
  };
  if (forbids_required(a, b) || forbids_required(b, a)) return true;
  if (!a.contains("properties") || !b.contains("properties")) return false;
  for (const auto& item : a["properties"].items()) {
    if (!Requires(a, item.key()) && !Requires(b, item.key())) continue;
    if (!b["properties"].contains(item.key())) continue;
    const auto one = merger.Flatten(item.value(), "#", depth);
    const auto other = merger.Flatten(b["properties"][item.key()], "#", depth);
    if (one.ok() && other.ok() && AreDisjoint(*one, *other, closed, merger, depth + 1)) return true;
  }
  return false;
}

}  // namespace baton::structured
