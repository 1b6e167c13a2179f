#include "common/structured_output/schema_merge.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

#include "common/status/status_macros.h"
#include "common/structured_output/schema_keywords.h"

namespace baton::structured {
namespace {

Json MatchesNothing() { return {{"enum", Json::array()}}; }

// %XX of URIs.
std::string PercentDecoded(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    uint32_t byte = 0;
    if (text[i] == '%' && i + 2 < text.size() + 0 &&
        absl::SimpleHexAtoi(text.substr(i + 1, 2), &byte)) {
      out.push_back(static_cast<char>(byte));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

Json Both(const Json& a, const Json& b) {
  if (a == b) return a;
  return {{"allOf", Json::array({a, b})}};
}

void AddTo(const Json& value, Json* list) {
  if (std::find(list->begin(), list->end(), value) == list->end()) list->push_back(value);
}

Json CommonTypes(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  Json out = Json::array();
  const auto has = [](const std::vector<std::string>& types, const char* type) {
    return std::find(types.begin(), types.end(), type) != types.end();
  };
  for (const std::string& type : a) {
    const bool common = has(b, type.c_str()) || (type == "integer" && has(b, "number"));
    if (common) AddTo(type, &out);
    if (type == "number" && !common && has(b, "integer")) AddTo("integer", &out);
  }
  return out;
}

Json AsList(const Json& value) { return value.is_array() ? value : Json::array({value}); }

// What `other` says of properties that only `schema` names, added to them.
void ApplyAdditional(const Json& other, Json* schema) {
  if (!other.contains("additionalProperties") || !schema->contains("properties")) return;
  for (auto& item : (*schema)["properties"].items()) {
    if (other.contains("properties") && other["properties"].contains(item.key())) continue;
    item.value() = Both(item.value(), other["additionalProperties"]);
  }
}

}  // namespace

std::vector<std::string> TypesOf(const Json& schema) {
  std::vector<std::string> types;
  if (!schema.contains("type")) {
    return {"object", "array", "string", "number", "boolean", "null"};
  }
  for (const Json& type : AsList(schema["type"])) {
    if (type.is_string()) types.push_back(type.get<std::string>());
  }
  return types;
}

absl::StatusOr<const Json*> SchemaMerger::Resolve(absl::string_view ref,
                                                  absl::string_view path) const {
  const auto refuse = [&](absl::string_view problem) {
    return SchemaError(path, absl::StrCat("$ref \"", ref, "\" ", problem));
  };
  if (ref != "#" && !absl::StartsWith(ref, "#/")) {
    return refuse("is not supported: only # and #/... within the schema are");
  }
  const Json* at = &document_;
  const std::string pointer = PercentDecoded(ref.substr(1));
  std::vector<std::string> steps = absl::StrSplit(pointer, '/');
  for (size_t i = 1; i < steps.size(); ++i) {
    const std::string step =
        absl::StrReplaceAll(absl::StrReplaceAll(steps[i], {{"~1", "/"}}), {{"~0", "~"}});
    size_t index = 0;
    if (at->is_object() && at->contains(step)) {
      at = &(*at)[step];
    } else if (at->is_array() && absl::SimpleAtoi(step, &index) && index < at->size()) {
      at = &(*at)[index];
    } else {
      return refuse("points to nothing");
    }
  }
  return at;
}

absl::StatusOr<Json> SchemaMerger::Flatten(const Json& schema, absl::string_view path,
                                           int depth) const {
  if (!budget_.CheckDepth(depth, absl::StrCat("JSON schema at ", path)) ||
      !budget_.Work(20 + schema.size())) {
    return budget_.status();
  }
  if (schema.is_boolean()) return schema.get<bool>() ? Json::object() : MatchesNothing();
  if (!schema.is_object()) return SchemaError(path, "a schema must be an object or a boolean");
  RETURN_IF_ERROR(CheckKeywords(schema, path));
  Json out = Json::object();
  for (const auto& item : schema.items()) {
    if (item.key() != "$ref" && item.key() != "allOf" && Restricts(item.key())) {
      out[item.key()] = item.value();
    }
  }
  if (schema.contains("$ref")) {
    const std::string ref = schema["$ref"].get<std::string>();
    ASSIGN_OR_RETURN(const Json* target, Resolve(ref, path));
    ASSIGN_OR_RETURN(const Json flat, Flatten(*target, ref, depth + 1));
    ASSIGN_OR_RETURN(out, Merge(flat, out, path));
  }
  if (schema.contains("allOf")) {
    size_t index = 0;
    for (const Json& part : schema["allOf"]) {
      const std::string part_path = absl::StrCat(path, "/allOf/", index++);
      ASSIGN_OR_RETURN(const Json flat, Flatten(part, part_path, depth + 1));
      ASSIGN_OR_RETURN(out, Merge(out, flat, path));
    }
  }
  return out;
}

absl::StatusOr<Json> SchemaMerger::MergeAlternatives(const Json& a, const Json& b,
                                                     const char* keyword,
                                                     absl::string_view path) const {
  Json rest = b;
  rest.erase(keyword);
  ASSIGN_OR_RETURN(const Json base, Merge(a, rest, path));
  Json out = Json::array();
  for (const Json& branch : b[keyword]) {
    ASSIGN_OR_RETURN(const Json flat, Flatten(branch, absl::StrCat(path, "/", keyword), 1));
    ASSIGN_OR_RETURN(Json merged, Merge(base, flat, path));
    out.push_back(std::move(merged));
  }
  return Json{{keyword, out}};
}

absl::Status SchemaMerger::MergeKeyword(const std::string& name, const Json& value,
                                        absl::string_view path, Json* out) const {
  Json& mine = (*out)[name];
  if (name == "type") {
    mine = CommonTypes(TypesOf(*out), TypesOf({{"type", value}}));
  } else if (name == "enum") {
    Json common = Json::array();
    for (const Json& item : mine) {
      if (std::find(value.begin(), value.end(), item) != value.end()) common.push_back(item);
    }
    mine = common;
  } else if (name == "const") {
    if (mine != value) *out = MatchesNothing();
  } else if (name == "properties") {
    for (const auto& item : value.items()) {
      mine[item.key()] =
          mine.contains(item.key()) ? Both(mine[item.key()], item.value()) : item.value();
    }
  } else if (name == "required" || name == "pattern") {
    mine = AsList(mine);
    for (const Json& item : AsList(value)) AddTo(item, &mine);
  } else if (name == "additionalProperties" || name == "items") {
    mine = Both(mine, value);
  } else if (name == "prefixItems" && mine.size() == value.size()) {
    for (size_t i = 0; i < mine.size(); ++i) mine[i] = Both(mine[i], value[i]);
  } else if (absl::StartsWith(name, "min") || name == "exclusiveMinimum") {
    if (value > mine) mine = value;
  } else if (absl::StartsWith(name, "max") || name == "exclusiveMaximum") {
    if (value < mine) mine = value;
  } else if (mine != value) {
    return SchemaError(path, absl::StrCat("two different \"", name, "\" cannot be merged"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Json> SchemaMerger::Merge(const Json& a, const Json& b,
                                         absl::string_view path) const {
  if (!budget_.Work(20 + a.size() + b.size())) return budget_.status();
  for (const char* keyword : {"anyOf", "oneOf"}) {
    if (a.contains(keyword) && b.contains(keyword)) return MergeAlternatives(a, b, keyword, path);
  }
  if (a.contains("prefixItems") != b.contains("prefixItems")) {
    const Json& with = a.contains("prefixItems") ? a : b;
    if ((&with == &a ? b : a).contains("items")) {
      return SchemaError(path,
                         "\"items\" and \"prefixItems\" of different schemas cannot be merged");
    }
  }
  Json out = a;
  Json other = b;
  ApplyAdditional(b, &out);
  ApplyAdditional(a, &other);
  for (const auto& item : other.items()) {
    if (out.contains(item.key())) {
      RETURN_IF_ERROR(MergeKeyword(item.key(), item.value(), path, &out));
    } else {
      out[item.key()] = item.value();
    }
  }
  return out;
}

}  // namespace baton::structured
