// The grammar of JSON texts, in pieces.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

#include "common/structured_output/expression.h"

namespace baton::structured {

using Json = nlohmann::ordered_json;

struct JsonStyle {
  // One separator each, `, ` and `: `, and nothing else between tokens.
  bool compact = false;
  // What may stand between tokens, as a regular expression. Unset: up to kMostBlanks blanks and
  // line ends, so that no model writes them for ever.
  std::optional<std::string> whitespace_pattern;
};

inline constexpr uint32_t kMostBlanks = 64;

class JsonRules final {
 public:
  // The grammar must outlive the rules. Errors: those of ParseRegex for the whitespace.
  static absl::StatusOr<JsonRules> Create(const JsonStyle& style, Grammar* grammar);

  ExprId Number() const { return number_; }
  ExprId Integer() const { return integer_; }
  ExprId Boolean() const { return boolean_; }
  ExprId Null() const { return null_; }
  ExprId String() const { return string_; }  // with its quotes
  // Of a string, or an escape: spelt out, or as a call of a rule.
  ExprId AnyCharacter() const { return any_character_; }
  ExprId CallOfCharacter() const { return call_of_character_; }
  ExprId Value() const { return value_; }
  ExprId Object() const { return object_; }
  ExprId Array() const { return array_; }

  // `inside` may be empty text: [ inside ], with blanks.
  ExprId Brackets(ExprId inside) const { return Enclose("[", inside, "]"); }
  ExprId Braces(ExprId inside) const { return Enclose("{", inside, "}"); }
  ExprId Quoted(ExprId inside) const;
  ExprId Comma() const { return comma_; }
  // `key` : `value`, with blanks.
  ExprId Member(ExprId key, ExprId value) const;
  // At least `least` and at most `most` of `item`, with commas between.
  ExprId List(ExprId item, uint32_t least, uint32_t most) const;
  // A text that means `value`; keys in its order.
  ExprId Constant(const Json& value) const;

 private:
  explicit JsonRules(Grammar* grammar) : grammar_(*grammar) {}
  absl::Status Build(const JsonStyle& style);
  void BuildString();
  void BuildNumbers();
  ExprId Enclose(const char* open, ExprId inside, const char* close) const;
  ExprId AsRule(const char* name, ExprId body) const;

  Grammar& grammar_;
  ExprId blanks_ = 0;
  ExprId comma_ = 0;
  ExprId colon_ = 0;
  ExprId number_ = 0;
  ExprId integer_ = 0;
  ExprId boolean_ = 0;
  ExprId null_ = 0;
  ExprId string_ = 0;
  ExprId any_character_ = 0;
  ExprId call_of_character_ = 0;
  ExprId value_ = 0;
  ExprId object_ = 0;
  ExprId array_ = 0;
};

}  // namespace baton::structured
