#include "common/structured_output/object_schema.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "common/structured_output/schema_keywords.h"
#include "common/structured_output/string_schema.h"

namespace baton::structured {
namespace {

uint32_t CountIn(const Json& schema, const char* keyword, uint32_t otherwise) {
  return schema.contains(keyword) ? static_cast<uint32_t>(schema[keyword].get<double>())
                                  : otherwise;
}

struct Property {
  std::string name;
  bool required = false;
  ExprId member = 0;
};

class ObjectSpeller {
 public:
  ObjectSpeller(const ContainerSchema& object, const JsonRules& rules, SubschemaSpeller* speller,
                Grammar* grammar)
      : object_(object), rules_(rules), speller_(*speller), grammar_(*grammar) {}

  absl::StatusOr<ExprId> Spell() {
    RETURN_IF_ERROR(SpellProperties());
    RETURN_IF_ERROR(SpellOthers());
    const Json& schema = object_.schema;
    const uint32_t least = CountIn(schema, "minProperties", 0);
    const uint32_t most = CountIn(schema, "maxProperties", kUnbounded);
    if (properties_.empty()) {
      if (least > most) return grammar_.Nothing();
      if (!others_) return least == 0 ? rules_.Braces(grammar_.Empty()) : grammar_.Nothing();
      return rules_.Braces(rules_.List(*others_, least, most));
    }
    const auto num_required = std::count_if(properties_.begin(), properties_.end(),
                                            [](const Property& p) { return p.required; });
    if (least > static_cast<size_t>(num_required) ||
        (most != kUnbounded && (others_ || most < properties_.size()))) {
      return SchemaError(object_.path,
                         "minProperties and maxProperties beside properties are not supported");
    }
    return rules_.Braces(First(0));
  }

 private:
  absl::Status SpellProperties() {
    const Json& schema = object_.schema;
    std::vector<std::string> required;
    if (schema.contains("required")) required = schema["required"].get<std::vector<std::string>>();
    const auto is_required = [&required](const std::string& name) {
      return std::find(required.begin(), required.end(), name) != required.end();
    };
    Json properties = schema.contains("properties") ? schema["properties"] : Json::object();
    for (const std::string& name : required) {
      if (properties.contains(name)) continue;
      properties[name] =
          schema.contains("additionalProperties") ? schema["additionalProperties"] : Json(true);
    }
    for (const auto& item : properties.items()) {
      if (item.value() == false && !is_required(item.key())) {
        forbidden_.push_back(item.key());
        continue;
      }
      const std::string path = absl::StrCat(object_.path, "/properties/", item.key());
      ASSIGN_OR_RETURN(const ExprId value, speller_.Spell(item.value(), path, object_.depth + 1));
      const ExprId key = grammar_.Literal(Json(item.key()).dump());
      // It stands in two places.
      const RuleId rule = grammar_.AddRule(path);
      grammar_.SetBody(rule, rules_.Member(key, value));
      properties_.push_back({item.key(), is_required(item.key()), grammar_.Call(rule)});
    }
    return absl::OkStatus();
  }

  absl::Status SpellOthers() {
    const Json& schema = object_.schema;
    const bool named = schema.contains("properties") && !schema["properties"].empty();
    Json additional = !(object_.closed && (named || !properties_.empty()));
    if (schema.contains("additionalProperties")) additional = schema["additionalProperties"];
    if (additional == false) return absl::OkStatus();
    std::vector<std::string> names = forbidden_;
    for (const Property& property : properties_) names.push_back(property.name);
    ExprId key = rules_.String();
    if (!names.empty()) {
      ASSIGN_OR_RETURN(key, SpellOtherKeys(names, object_.path, &grammar_));
    }
    ASSIGN_OR_RETURN(const ExprId value,
                     speller_.Spell(additional, absl::StrCat(object_.path, "/additionalProperties"),
                                    object_.depth + 1));
    const RuleId rule = grammar_.AddRule("additional property");
    grammar_.SetBody(rule, rules_.Member(key, value));
    others_ = grammar_.Call(rule);
    return absl::OkStatus();
  }

  // Members from `index` on behind another one, each with its comma.
  ExprId Rest(size_t index) {
    std::vector<ExprId> parts;
    for (size_t i = index; i < properties_.size(); ++i) {
      const ExprId part = grammar_.Concat({rules_.Comma(), properties_[i].member});
      parts.push_back(properties_[i].required ? part : grammar_.Optional(part));
    }
    if (others_) {
      parts.push_back(grammar_.Repeat(grammar_.Concat({rules_.Comma(), *others_}), 0, kUnbounded));
    }
    return grammar_.Concat(std::move(parts));
  }

  ExprId RestRule(size_t index) {
    if (rests_.size() <= index) rests_.resize(index + 1);
    if (!rests_[index]) {
      const RuleId rule = grammar_.AddRule("members");
      ExprId body = Rest(index);
      if (index < properties_.size()) {
        const ExprId part = grammar_.Concat({rules_.Comma(), properties_[index].member});
        body = grammar_.Concat(
            {properties_[index].required ? part : grammar_.Optional(part), RestRule(index + 1)});
      }
      grammar_.SetBody(rule, body);
      rests_[index] = grammar_.Call(rule);
    }
    return *rests_[index];
  }

  // Members from `index` on; none stands before them.
  ExprId First(size_t index) {
    std::vector<ExprId> out;
    size_t last = index;
    while (last < properties_.size() && !properties_[last].required) ++last;
    // The first one may be any up to the first that is required.
    const bool one = last == index;
    for (size_t i = index; i < properties_.size() && i <= last; ++i) {
      out.push_back(grammar_.Concat({properties_[i].member, one ? Rest(i + 1) : RestRule(i + 1)}));
    }
    if (last == properties_.size()) {
      out.push_back(others_ ? rules_.List(*others_, 0, kUnbounded) : grammar_.Empty());
    }
    return grammar_.Alternate(std::move(out));
  }

  const ContainerSchema& object_;
  const JsonRules& rules_;
  SubschemaSpeller& speller_;
  Grammar& grammar_;
  std::vector<Property> properties_;
  std::vector<std::string> forbidden_;
  std::optional<ExprId> others_;
  std::vector<std::optional<ExprId>> rests_;
};

}  // namespace

absl::StatusOr<ExprId> SpellObject(const ContainerSchema& object, const JsonRules& rules,
                                   SubschemaSpeller* speller, Grammar* grammar) {
  return ObjectSpeller(object, rules, speller, grammar).Spell();
}

absl::StatusOr<ExprId> SpellArray(const ContainerSchema& array, const JsonRules& rules,
                                  SubschemaSpeller* speller, Grammar* grammar) {
  const Json& schema = array.schema;
  const uint32_t least = CountIn(schema, "minItems", 0);
  const uint32_t most = CountIn(schema, "maxItems", kUnbounded);
  if (least > most) return grammar->Nothing();
  std::vector<ExprId> first;
  if (schema.contains("prefixItems")) {
    for (const Json& item : schema["prefixItems"]) {
      const std::string path = absl::StrCat(array.path, "/prefixItems/", first.size());
      ASSIGN_OR_RETURN(const ExprId part, speller->Spell(item, path, array.depth + 1));
      first.push_back(part);
    }
  }
  const bool none_after = array.closed && !first.empty();
  const Json items = schema.contains("items") ? schema["items"] : Json(!none_after);
  ExprId item = grammar->Nothing();
  if (items != false) {
    ASSIGN_OR_RETURN(const ExprId body,
                     speller->Spell(items, absl::StrCat(array.path, "/items"), array.depth + 1));
    const RuleId rule = grammar->AddRule(absl::StrCat(array.path, "/items"));
    grammar->SetBody(rule, body);
    item = grammar->Call(rule);
  }
  if (most != kUnbounded && first.size() > most) first.resize(most);
  if (first.empty()) return rules.Brackets(rules.List(item, least, most));
  // From the last to the first: each may be where the array ends, once there are enough.
  const auto num_first = static_cast<uint32_t>(first.size());
  ExprId rest = grammar->Repeat(grammar->Concat({rules.Comma(), item}),
                                least > num_first ? least - num_first : 0,
                                most == kUnbounded ? kUnbounded : most - num_first);
  for (uint32_t i = num_first; i-- > 0;) {
    rest = grammar->Concat({i > 0 ? rules.Comma() : grammar->Empty(), first[i], rest});
    if (i >= least) rest = grammar->Optional(rest);
  }
  return rules.Brackets(rest);
}

}  // namespace baton::structured
