#include "common/structured_output/schema_keywords.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"

namespace baton::structured {
namespace {

enum class Wanted { kSchema, kSchemas, kSchemaMap, kCount, kNumber, kText, kTexts, kAnything };

struct Keyword {
  absl::string_view name;
  Wanted wanted = Wanted::kAnything;
  const char* kind = "";  // in words
};

constexpr Keyword kSupported[] = {
    {"type"},
    {"enum"},
    {"const"},
    {"$ref", Wanted::kText, "a string"},
    {"allOf", Wanted::kSchemas, "a list of schemas that is not empty"},
    {"anyOf", Wanted::kSchemas, "a list of schemas that is not empty"},
    {"oneOf", Wanted::kSchemas, "a list of schemas that is not empty"},
    {"properties", Wanted::kSchemaMap, "an object of schemas"},
    {"required", Wanted::kTexts, "a list of strings"},
    {"additionalProperties", Wanted::kSchema, "a schema"},
    {"minProperties", Wanted::kCount, "a count"},
    {"maxProperties", Wanted::kCount, "a count"},
    {"items", Wanted::kSchema, "a schema (prefixItems takes lists)"},
    {"prefixItems", Wanted::kSchemas, "a list of schemas that is not empty"},
    {"minItems", Wanted::kCount, "a count"},
    {"maxItems", Wanted::kCount, "a count"},
    {"minLength", Wanted::kCount, "a count"},
    {"maxLength", Wanted::kCount, "a count"},
    {"pattern"},
    {"format", Wanted::kText, "a string"},
    {"minimum", Wanted::kNumber, "a number"},
    {"maximum", Wanted::kNumber, "a number"},
    {"exclusiveMinimum", Wanted::kNumber, "a number"},
    {"exclusiveMaximum", Wanted::kNumber, "a number"},
};

constexpr absl::string_view kUnsupported[] = {
    "not",
    "if",
    "then",
    "else",
    "multipleOf",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "additionalItems",
    "unevaluatedItems",
    "$dynamicRef",
    "unevaluatedProperties",
    "$recursiveRef",
    "extends",
    "disallow",
    "divisibleBy",
};

bool IsSchema(const Json& value) { return value.is_object() || value.is_boolean(); }

// Up to 2^31, also when written as 2.0.
bool IsCount(const Json& value) {
  if (!value.is_number()) return false;
  const double number = value.get<double>();
  return number >= 0 && number < 2147483648.0 &&
         number == static_cast<double>(static_cast<int64_t>(number));
}

bool Fits(const Json& value, Wanted wanted) {
  const auto all = [&value](bool (*fits)(const Json&)) {
    return std::all_of(value.begin(), value.end(), fits);
  };
  switch (wanted) {
    case Wanted::kSchema:
      return IsSchema(value);
    case Wanted::kSchemas:
      return value.is_array() && !value.empty() && all(IsSchema);
    case Wanted::kSchemaMap:
      return value.is_object() && all(IsSchema);
    case Wanted::kCount:
      return IsCount(value);
    case Wanted::kNumber:
      return value.is_number();
    case Wanted::kText:
      return value.is_string();
    case Wanted::kTexts:
      return value.is_array() && all([](const Json& item) { return item.is_string(); });
    case Wanted::kAnything:
      return true;
  }
  return false;
}

const Keyword* FindKeyword(absl::string_view name) {
  const auto* const found =
      std::find_if(std::begin(kSupported), std::end(kSupported),
                   [name](const Keyword& keyword) { return keyword.name == name; });
  return found == std::end(kSupported) ? nullptr : found;
}

}  // namespace

std::vector<absl::string_view> SupportedKeywords() {
  std::vector<absl::string_view> names;
  for (const Keyword& keyword : kSupported) names.push_back(keyword.name);
  return names;
}

std::vector<absl::string_view> UnsupportedKeywords() {
  return {std::begin(kUnsupported), std::end(kUnsupported)};
}

absl::Status SchemaError(absl::string_view path, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("JSON schema at ", path, ": ", problem));
}

bool Restricts(absl::string_view keyword) { return FindKeyword(keyword) != nullptr; }

absl::Status CheckKeywords(const Json& schema, absl::string_view path) {
  for (const auto& item : schema.items()) {
    const absl::string_view name = item.key();
    if (const Keyword* keyword = FindKeyword(name); keyword != nullptr) {
      if (Fits(item.value(), keyword->wanted)) continue;
      return SchemaError(path, absl::StrCat("\"", name, "\" must be ", keyword->kind));
    }
    if (std::find(std::begin(kUnsupported), std::end(kUnsupported), name) !=
        std::end(kUnsupported)) {
      return SchemaError(path, absl::StrCat("keyword \"", name, "\" is not supported"));
    }
  }
  return absl::OkStatus();
}

}  // namespace baton::structured
