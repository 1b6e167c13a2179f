#include "common/structured_output/json_rules.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "common/status/status_macros.h"
#include "common/structured_output/code_point_set.h"
#include "common/structured_output/regex_parser.h"

namespace baton::structured {
namespace {

// Up to here doubles that are whole numbers are exactly these.
constexpr double kLargestWhole = 9007199254740992.0;

}  // namespace

absl::StatusOr<JsonRules> JsonRules::Create(const JsonStyle& style, Grammar* grammar) {
  JsonRules rules(grammar);
  RETURN_IF_ERROR(rules.Build(style));
  return rules;
}

ExprId JsonRules::AsRule(const char* name, ExprId body) const {
  const RuleId rule = grammar_.AddRule(name);
  grammar_.SetBody(rule, body);
  return grammar_.Call(rule);
}

absl::Status JsonRules::Build(const JsonStyle& style) {
  Grammar& g = grammar_;
  if (style.whitespace_pattern) {
    ASSIGN_OR_RETURN(const ExprId blanks, ParseRegex(*style.whitespace_pattern, {}, &g));
    blanks_ = AsRule("whitespace", blanks);
  } else if (!style.compact) {
    const ExprId blank =
        SpellCharacter({{' ', ' '}, {'\t', '\n'}, {'\r', '\r'}}, TextSpelling::kPlain, &g);
    blanks_ = AsRule("whitespace", g.Repeat(blank, 0, kMostBlanks));
  }
  const bool spaced = style.compact && !style.whitespace_pattern;
  comma_ = spaced ? g.Literal(", ") : g.Concat({blanks_, g.Literal(","), blanks_});
  colon_ = spaced ? g.Literal(": ") : g.Concat({blanks_, g.Literal(":"), blanks_});
  BuildString();
  BuildNumbers();
  boolean_ = g.Alternate({g.Literal("true"), g.Literal("false")});
  null_ = g.Literal("null");
  const RuleId value = g.AddRule("value");
  value_ = g.Call(value);
  object_ = AsRule("object", Braces(List(Member(string_, value_), 0, kUnbounded)));
  array_ = AsRule("array", Brackets(List(value_, 0, kUnbounded)));
  g.SetBody(value, g.Alternate({object_, array_, string_, number_, boolean_, null_}));
  return g.budget().status();
}

void JsonRules::BuildString() {
  Grammar& g = grammar_;
  const ExprId hex = SpellCharacter({{'0', '9'}, {'A', 'F'}, {'a', 'f'}}, TextSpelling::kPlain, &g);
  // No half of a surrogate pair: such a character is written as it is.
  const ExprId low_hex = SpellCharacter(
      {{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}, TextSpelling::kPlain, &g);
  const ExprId d_hex = g.Concat(
      {SpellCharacter({{'D', 'D'}, {'d', 'd'}}, TextSpelling::kPlain, &g), g.Byte('0', '7')});
  const ExprId number =
      g.Concat({g.Literal("\\u"), g.Alternate({g.Concat({low_hex, hex}), d_hex}), hex, hex});
  // Control characters are escaped, by number or with a letter.
  CodePointSet raw = {{0x20, kLastCodePoint}};
  std::vector<ExprId> letters;
  for (const char letter : {'b', 'f', 'n', 'r', 't'}) {
    letters.push_back(g.Literal(std::string(1, letter)));
  }
  any_character_ = g.Alternate({SpellCharacter(raw, TextSpelling::kJsonString, &g), number,
                                g.Concat({g.Literal("\\"), g.Alternate(std::move(letters))})});
  call_of_character_ = AsRule("character", any_character_);
  string_ = AsRule("string", Quoted(g.Repeat(any_character_, 0, kUnbounded)));
}

void JsonRules::BuildNumbers() {
  Grammar& g = grammar_;
  const ExprId digit = g.Byte('0', '9');
  const ExprId digits = g.Repeat(digit, 0, kUnbounded);
  const ExprId some_digits = g.Repeat(digit, 1, kUnbounded);
  const ExprId sign = g.Optional(g.Literal("-"));
  integer_ = g.Concat({sign, g.Alternate({g.Literal("0"), g.Concat({g.Byte('1', '9'), digits})})});
  const ExprId fraction = g.Optional(g.Concat({g.Literal("."), some_digits}));
  const ExprId exponent =
      g.Optional(g.Concat({g.Alternate({g.Literal("e"), g.Literal("E")}),
                           g.Alternate({g.Empty(), g.Literal("+"), g.Literal("-")}), some_digits}));
  number_ = AsRule("number", g.Concat({integer_, fraction, exponent}));
}

ExprId JsonRules::Quoted(ExprId inside) const {
  return grammar_.Concat({grammar_.Literal("\""), inside, grammar_.Literal("\"")});
}

ExprId JsonRules::Enclose(const char* open, ExprId inside, const char* close) const {
  // Blanks once if there is nothing inside.
  std::vector<ExprId> some;
  bool may_be_empty = inside == grammar_.Empty();
  if (grammar_.expr(inside).kind == ExprKind::kAlternate) {
    some = grammar_.expr(inside).parts;
    may_be_empty = std::erase(some, grammar_.Empty()) > 0;
  } else if (!may_be_empty) {
    some = {inside};
  }
  ExprId middle = grammar_.Concat({grammar_.Alternate(std::move(some)), blanks_});
  if (may_be_empty) middle = grammar_.Optional(middle);
  return grammar_.Concat({grammar_.Literal(open), blanks_, middle, grammar_.Literal(close)});
}

ExprId JsonRules::Member(ExprId key, ExprId value) const {
  return grammar_.Concat({key, colon_, value});
}

ExprId JsonRules::List(ExprId item, uint32_t least, uint32_t most) const {
  if (most == 0) return grammar_.Empty();
  const ExprId more = grammar_.Repeat(grammar_.Concat({comma_, item}), least > 0 ? least - 1 : 0,
                                      most == kUnbounded ? kUnbounded : most - 1);
  const ExprId list = grammar_.Concat({item, more});
  return least == 0 ? grammar_.Optional(list) : list;
}

ExprId JsonRules::Constant(const Json& value) const {
  if (!grammar_.budget().Work(1)) return grammar_.Nothing();
  if (value.is_number_float() && std::fabs(value.get<double>()) < kLargestWhole &&
      value.get<double>() == std::round(value.get<double>())) {
    const auto whole = static_cast<int64_t>(value.get<double>());
    return grammar_.Alternate(
        {grammar_.Literal(std::to_string(whole)), grammar_.Literal(value.dump())});
  }
  if (!value.is_structured()) return grammar_.Literal(value.dump());
  std::vector<ExprId> parts;
  for (const auto& item : value.items()) {
    if (!parts.empty()) parts.push_back(comma_);
    const ExprId inner = Constant(item.value());
    parts.push_back(value.is_object() ? Member(grammar_.Literal(Json(item.key()).dump()), inner)
                                      : inner);
  }
  const ExprId inside = grammar_.Concat(std::move(parts));
  return value.is_object() ? Braces(inside) : Brackets(inside);
}

}  // namespace baton::structured
