#include "common/structured_output/schema_compiler.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "common/structured_output/number_range.h"
#include "common/structured_output/object_schema.h"
#include "common/structured_output/schema_disjoint.h"
#include "common/structured_output/schema_keywords.h"
#include "common/structured_output/schema_merge.h"
#include "common/structured_output/string_schema.h"

namespace baton::structured {
namespace {

struct TypedKeyword {
  absl::string_view keyword;
  absl::string_view type;
};

constexpr TypedKeyword kTypedKeywords[] = {
    {"properties", "object"},
    {"required", "object"},
    {"additionalProperties", "object"},
    {"minProperties", "object"},
    {"maxProperties", "object"},
    {"items", "array"},
    {"prefixItems", "array"},
    {"minItems", "array"},
    {"maxItems", "array"},
    {"minLength", "string"},
    {"maxLength", "string"},
    {"pattern", "string"},
    {"format", "string"},
    {"minimum", "number"},
    {"maximum", "number"},
    {"exclusiveMinimum", "number"},
    {"exclusiveMaximum", "number"},
};

class SchemaCompiler final : public SubschemaSpeller {
 public:
  SchemaCompiler(const Json* document, const SchemaOptions& options, const JsonRules& rules,
                 Grammar* grammar)
      : document_(*document),
        options_(options),
        rules_(rules),
        grammar_(*grammar),
        merger_(document, &grammar->budget()) {}

  absl::StatusOr<ExprId> Compile() {
    ASSIGN_OR_RETURN(const ExprId root, RuleOf("#", "#"));
    // Rules are made outside of each other, so that they do not nest.
    while (!pending_.empty()) {
      const auto [ref, rule] = pending_.back();
      pending_.pop_back();
      ASSIGN_OR_RETURN(const Json* schema, merger_.Resolve(ref, ref));
      ASSIGN_OR_RETURN(const ExprId body, Spell(*schema, ref, 0));
      grammar_.SetBody(rule, body);
      if (!grammar_.budget().ok()) return grammar_.budget().status();
    }
    return root;
  }

  absl::StatusOr<ExprId> Spell(const Json& schema, const std::string& path, int depth) override {
    if (!grammar_.budget().CheckDepth(depth, absl::StrCat("JSON schema at ", path)) ||
        !grammar_.budget().Work(10)) {
      return grammar_.budget().status();
    }
    if (schema.is_object() && schema.contains("$ref") && !RestrictsBeside(schema)) {
      RETURN_IF_ERROR(CheckKeywords(schema, path));
      return RuleOf(schema["$ref"].get<std::string>(), path);
    }
    ASSIGN_OR_RETURN(const Json flat, merger_.Flatten(schema, path, depth));
    return SpellFlat(flat, path, depth);
  }

 private:
  static bool RestrictsBeside(const Json& schema) {
    for (const auto& item : schema.items()) {
      if (item.key() != "$ref" && Restricts(item.key())) return true;
    }
    return false;
  }

  absl::StatusOr<ExprId> RuleOf(const std::string& ref, absl::string_view path) {
    RETURN_IF_ERROR(merger_.Resolve(ref, path).status());
    const auto [place, added] = rules_of_.try_emplace(ref);
    if (added) {
      place->second = grammar_.AddRule(ref);
      pending_.push_back({ref, place->second});
    }
    return grammar_.Call(place->second);
  }

  absl::StatusOr<ExprId> SpellFlat(const Json& schema, const std::string& path, int depth) {
    if (schema.empty()) return rules_.Value();
    for (const char* keyword : {"anyOf", "oneOf"}) {
      if (schema.contains(keyword)) return SpellBranches(schema, keyword, path, depth);
    }
    if (schema.contains("enum") || schema.contains("const")) return SpellValues(schema, path);
    ASSIGN_OR_RETURN(const std::vector<std::string> types, TypesToSpell(schema, path));
    std::vector<ExprId> out;
    for (const std::string& type : types) {
      ASSIGN_OR_RETURN(const ExprId part, SpellType(type, schema, path, depth));
      out.push_back(part);
    }
    return grammar_.Alternate(std::move(out));
  }

  absl::StatusOr<ExprId> SpellBranches(const Json& schema, const char* keyword,
                                       const std::string& path, int depth) {
    Json base = schema;
    base.erase(keyword);
    std::vector<ExprId> out;
    std::vector<Json> flats;
    for (const Json& branch : schema[keyword]) {
      const std::string branch_path = absl::StrCat(path, "/", keyword, "/", out.size());
      ASSIGN_OR_RETURN(const Json flat, merger_.Flatten(branch, branch_path, depth + 1));
      ASSIGN_OR_RETURN(const Json merged, merger_.Merge(base, flat, branch_path));
      if (absl::string_view(keyword) == "oneOf") {
        for (size_t i = 0; i < flats.size(); ++i) {
          if (AreDisjoint(flats[i], merged, !options_.literal, merger_, 0)) continue;
          return SchemaError(branch_path, absl::StrCat("may match what oneOf/", i,
                                                       " matches; use anyOf, or a property that "
                                                       "tells them apart by const"));
        }
        flats.push_back(merged);
      }
      // References stay calls: they may be recursive.
      absl::StatusOr<ExprId> part = base.empty() ? Spell(branch, branch_path, depth + 1)
                                                 : SpellFlat(merged, branch_path, depth + 1);
      if (!part.ok()) return part;
      out.push_back(*part);
    }
    return grammar_.Alternate(std::move(out));
  }

  absl::StatusOr<ExprId> SpellValues(const Json& schema, const std::string& path) {
    Json values = schema.contains("enum") ? schema["enum"] : Json::array({schema["const"]});
    if (!values.is_array()) return SchemaError(path, "\"enum\" must be a list");
    for (const auto& item : schema.items()) {
      const std::string& name = item.key();
      if (name == "enum" || name == "const" || name == "type") continue;
      return SchemaError(path,
                         absl::StrCat("\"", name, "\" beside enum or const is not supported"));
    }
    const std::vector<std::string> types = TypesOf(schema);
    std::vector<ExprId> out;
    for (const Json& value : values) {
      if (schema.contains("const") && value != schema["const"]) continue;
      const bool fits = std::any_of(types.begin(), types.end(), [&value](const std::string& type) {
        return HasType(value, type);
      });
      if (fits) out.push_back(rules_.Constant(value));
    }
    return grammar_.Alternate(std::move(out));
  }

  static bool HasType(const Json& value, absl::string_view type) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "number") return value.is_number();
    if (type == "boolean") return value.is_boolean();
    if (type == "null") return value.is_null();
    if (value.is_number_float()) {
      const double number = value.get<double>();
      return number == static_cast<double>(static_cast<int64_t>(number));
    }
    return value.is_number();
  }

  absl::StatusOr<std::vector<std::string>> TypesToSpell(const Json& schema,
                                                        const std::string& path) {
    static constexpr absl::string_view kTypes[] = {"object",  "array",   "string", "number",
                                                   "integer", "boolean", "null"};
    if (schema.contains("type")) {
      const Json& type = schema["type"];
      std::vector<std::string> types = TypesOf(schema);
      const bool listed = type.is_string() || (type.is_array() && types.size() == type.size());
      for (const std::string& name : types) {
        if (listed && std::find(std::begin(kTypes), std::end(kTypes), name) != std::end(kTypes)) {
          continue;
        }
        return SchemaError(path, absl::StrCat("type \"", name, "\" is not known"));
      }
      if (!listed) return SchemaError(path, "\"type\" must be a string or a list of strings");
      return types;
    }
    std::vector<std::string> types;
    if (!options_.literal) {
      for (const TypedKeyword& typed : kTypedKeywords) {
        if (!schema.contains(typed.keyword)) continue;
        if (types.empty() || types.back() != typed.type) types.emplace_back(typed.type);
      }
    }
    return types.empty() ? TypesOf(schema) : types;
  }

  absl::StatusOr<ExprId> SpellType(const std::string& type, const Json& schema,
                                   const std::string& path, int depth) {
    if (type == "boolean") return rules_.Boolean();
    if (type == "null") return rules_.Null();
    if (type == "string") return SpellString(schema, path, rules_, &grammar_);
    if (type == "object") {
      return SpellObject({schema, path, depth, !options_.literal}, rules_, this, &grammar_);
    }
    if (type == "array") {
      return SpellArray({schema, path, depth, !options_.literal}, rules_, this, &grammar_);
    }
    return SpellNumber(type == "integer", schema);
  }

  absl::StatusOr<ExprId> SpellNumber(bool integer, const Json& schema) {
    NumberRange range;
    range.integer = integer;
    const auto bound = [&schema](const char* keyword, bool exclusive,
                                 std::optional<NumberBound>* out) -> absl::Status {
      if (!schema.contains(keyword)) return absl::OkStatus();
      const Json& value = schema[keyword];
      std::string text = value.dump();
      if (value.is_number_float()) {
        ASSIGN_OR_RETURN(text, PlainDecimal(value.get<double>()));
      }
      out->emplace(NumberBound{text, exclusive});
      return absl::OkStatus();
    };
    // Of an inclusive and an exclusive bound the stricter one.
    const auto stricter = [&schema](const char* one, const char* other, bool low) {
      if (!schema.contains(one) || !schema.contains(other)) return schema.contains(other);
      return low ? schema[other] >= schema[one] : schema[other] <= schema[one];
    };
    const bool low_exclusive = stricter("minimum", "exclusiveMinimum", true);
    const bool high_exclusive = stricter("maximum", "exclusiveMaximum", false);
    RETURN_IF_ERROR(
        bound(low_exclusive ? "exclusiveMinimum" : "minimum", low_exclusive, &range.low));
    RETURN_IF_ERROR(
        bound(high_exclusive ? "exclusiveMaximum" : "maximum", high_exclusive, &range.high));
    if (!range.low && !range.high) return integer ? rules_.Integer() : rules_.Number();
    return SpellNumbers(range, &grammar_);
  }

  const Json& document_;
  const SchemaOptions& options_;
  const JsonRules& rules_;
  Grammar& grammar_;
  const SchemaMerger merger_;
  absl::flat_hash_map<std::string, RuleId> rules_of_;  // by reference
  std::vector<std::pair<std::string, RuleId>> pending_;
};

}  // namespace

absl::StatusOr<ExprId> CompileSchema(absl::string_view schema_json, const SchemaOptions& options,
                                     Grammar* grammar) {
  const Json document = Json::parse(schema_json, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return absl::InvalidArgumentError("the JSON schema is no JSON");
  ASSIGN_OR_RETURN(const JsonRules rules, JsonRules::Create(options.style, grammar));
  return SchemaCompiler(&document, options, rules, grammar).Compile();
}

}  // namespace baton::structured
