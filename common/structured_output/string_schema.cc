#include "common/structured_output/string_schema.h"

#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "common/structured_output/code_point_set.h"
#include "common/structured_output/regex_parser.h"
#include "common/structured_output/rule_automaton.h"
#include "common/structured_output/schema_keywords.h"
#include "common/utf8/utf8.h"

namespace baton::structured {
namespace {

// Strings that may be longer call a rule for each character; others are one automaton.
constexpr uint32_t kLongestInline = 512;
constexpr size_t kLongestKey = 256;

struct Format {
  absl::string_view name;
  std::string regex;
};

const std::vector<Format>& Formats() {
  static const auto* const kFormats = [] {
    const std::string date =
        "[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
        "|02-(0[1-9]|[12][0-9]))";
    const std::string time =
        "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
    const std::string octet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    const std::string ipv4 = absl::StrCat("(", octet, "\\.){3}", octet);
    const std::string hex = "[0-9A-Fa-f]";
    const std::string group = hex + "{1,4}";
    // Eight groups, or two colons with at most seven around them.
    std::string ipv6 =
        absl::StrCat("(", group, ":){7}", group, "|::(", group, "(:", group, "){0,6})?");
    for (int before = 1; before <= 7; ++before) {
      absl::StrAppend(&ipv6, "|", group, "(:", group, "){", before - 1, "}::");
      if (before < 7) absl::StrAppend(&ipv6, "(", group, "(:", group, "){0,", 6 - before, "})?");
    }
    const std::string label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
    const std::string host = absl::StrCat(label, "(\\.", label, ")*");
    const std::string atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
    const std::string clock = "([0-9]+H([0-9]+M([0-9]+S)?)?|[0-9]+M([0-9]+S)?|[0-9]+S)";
    const std::string days = "([0-9]+Y([0-9]+M([0-9]+D)?)?|[0-9]+M([0-9]+D)?|[0-9]+D)";
    return new std::vector<Format>{
        {"date", date},
        {"time", time},
        {"date-time", absl::StrCat(date, "T", time)},
        {"duration", absl::StrCat("P(", days, "(T", clock, ")?|T", clock, "|[0-9]+W)")},
        {"uuid", absl::StrCat(hex, "{8}-", hex, "{4}-", hex, "{4}-", hex, "{4}-", hex, "{12}")},
        {"email", absl::StrCat(atom, "(\\.", atom, ")*@", host)},
        {"ipv4", ipv4},
        {"ipv6", ipv6},
        {"hostname", host},
        {"uri", "[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#@!$&'()*+,;=\\[\\]-]|%[0-9A-Fa-f]{2})+"},
    };
  }();
  return *kFormats;
}

absl::StatusOr<ExprId> SpellFormat(const std::string& name, absl::string_view path,
                                   Grammar* grammar) {
  for (const Format& format : Formats()) {
    if (format.name == name) {
      return ParseRegex(format.regex, {.spelling = TextSpelling::kJsonString}, grammar);
    }
  }
  return SchemaError(path, absl::StrCat("\"format\" \"", name, "\" is not supported"));
}

uint32_t CountOr(const Json& schema, const char* keyword, uint32_t otherwise) {
  return schema.contains(keyword) ? static_cast<uint32_t>(schema[keyword].get<double>())
                                  : otherwise;
}

// A tree of the names' characters.
struct KeyTree {
  std::map<char32_t, KeyTree> children;
  bool ends = false;
};

ExprId SpellNone(const KeyTree& tree, ExprId any_text, Grammar* grammar) {
  if (!grammar->budget().Work(1)) return grammar->Nothing();
  std::vector<ExprId> out;
  if (!tree.ends) out.push_back(grammar->Empty());
  CodePointSet others;
  for (const auto& [character, child] : tree.children) others.Add(character);
  others = others.Complement();
  out.push_back(
      grammar->Concat({SpellCharacter(others, TextSpelling::kJsonString, grammar), any_text}));
  for (const auto& [character, child] : tree.children) {
    CodePointSet one;
    one.Add(character);
    out.push_back(grammar->Concat({SpellCharacter(one, TextSpelling::kJsonString, grammar),
                                   SpellNone(child, any_text, grammar)}));
  }
  return grammar->Alternate(std::move(out));
}

}  // namespace

absl::StatusOr<ExprId> SpellString(const Json& schema, absl::string_view path,
                                   const JsonRules& rules, Grammar* grammar) {
  const uint32_t least = CountOr(schema, "minLength", 0);
  const uint32_t most = CountOr(schema, "maxLength", kUnbounded);
  std::vector<ExprId> parts;
  if (schema.contains("pattern")) {
    const Json& given = schema["pattern"];
    for (const Json& pattern : given.is_array() ? given : Json::array({given})) {
      if (!pattern.is_string()) return SchemaError(path, "\"pattern\" must be a string");
      absl::StatusOr<ExprId> part =
          ParseRegex(pattern.get_ref<const std::string&>(),
                     {.spelling = TextSpelling::kJsonString, .search = true}, grammar);
      if (!part.ok()) return SchemaError(absl::StrCat(path, "/pattern"), part.status().message());
      parts.push_back(*part);
    }
  }
  if (schema.contains("format")) {
    ASSIGN_OR_RETURN(const ExprId part,
                     SpellFormat(schema["format"].get<std::string>(), path, grammar));
    parts.push_back(part);
  }
  if (least > most) return grammar->Nothing();
  if (least > 0 || most != kUnbounded) {
    const bool is_long = (most == kUnbounded ? least : most) > kLongestInline;
    if (is_long && !parts.empty()) {
      return SchemaError(path, absl::StrCat("a length over ", kLongestInline,
                                            " together with a pattern or format is not supported"));
    }
    parts.push_back(
        grammar->Repeat(is_long ? rules.CallOfCharacter() : rules.AnyCharacter(), least, most));
  }
  if (parts.empty()) return rules.String();
  const ExprId inside = parts.size() == 1 ? parts.front() : Intersect(parts, grammar);
  return rules.Quoted(inside);
}

absl::StatusOr<ExprId> SpellOtherKeys(const std::vector<std::string>& names, absl::string_view path,
                                      Grammar* grammar) {
  KeyTree tree;
  for (const std::string& name : names) {
    KeyTree* at = &tree;
    size_t length = 0;
    for (absl::string_view rest = name; !rest.empty(); ++length) {
      const Utf8Step step = NextUtf8(rest);
      at = &at->children[step.code_point];
      rest.remove_prefix(step.length);
    }
    if (length > kLongestKey) {
      return SchemaError(
          path, absl::StrCat("a property's name has more than ", kLongestKey, " characters"));
    }
    at->ends = true;
  }
  const ExprId any =
      SpellCharacter(CodePointSet().Complement(), TextSpelling::kJsonString, grammar);
  const ExprId quote = grammar->Literal("\"");
  return grammar->Concat(
      {quote, SpellNone(tree, grammar->Repeat(any, 0, kUnbounded), grammar), quote});
}

}  // namespace baton::structured
