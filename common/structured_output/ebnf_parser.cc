#include "common/structured_output/ebnf_parser.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "common/structured_output/code_point_set.h"
#include "common/structured_output/pattern_cursor.h"
#include "common/structured_output/schema_compiler.h"
#include "common/utf8/utf8.h"

namespace baton::structured {
namespace {

bool IsNameCharacter(char at) {
  return absl::ascii_isalnum(static_cast<unsigned char>(at)) || at == '_' || at == '-' || at == '.';
}

// Length of the JSON object that `text` begins with, by its braces; 0: it begins with none.
size_t ObjectBytes(absl::string_view text) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char at = text[i];
    if (in_string) {
      if (at == '\\') ++i;
      in_string = at != '"';
    } else if (at == '"') {
      in_string = true;
    } else if (at == '{') {
      ++depth;
    } else if (at == '}' && --depth == 0) {
      return i + 1;
    }
    if (depth == 0) return 0;
  }
  return 0;
}

class EbnfParser {
 public:
  EbnfParser(absl::string_view text, Grammar* grammar)
      : cursor_(text, "grammar"), grammar_(*grammar) {}

  absl::Status Parse() {
    for (SkipBlanks(); !cursor_.at_end(); SkipBlanks()) RETURN_IF_ERROR(ParseRule());
    for (const auto& [name, rule] : rules_) {
      if (!rule.defined) {
        return absl::InvalidArgumentError(
            absl::StrCat("grammar: rule \"", name, "\" is used but not defined"));
      }
    }
    const auto root = rules_.find("root");
    if (root == rules_.end()) {
      return absl::InvalidArgumentError("grammar: there is no rule \"root\" (root ::= ...)");
    }
    grammar_.root = root->second.id;
    return absl::OkStatus();
  }

 private:
  struct NamedRule {
    RuleId id = 0;
    bool defined = false;
  };

  void SkipBlanks() {
    while (!cursor_.at_end()) {
      if (cursor_.Peek() == '#') {
        while (!cursor_.at_end() && cursor_.Peek() != '\n') cursor_.Take();
      } else if (absl::ascii_isspace(static_cast<unsigned char>(cursor_.Peek()))) {
        cursor_.Take();
      } else {
        return;
      }
    }
  }

  std::string TakeName() {
    std::string name;
    while (IsNameCharacter(cursor_.Peek())) name.push_back(static_cast<char>(cursor_.Take()));
    return name;
  }

  NamedRule& Named(const std::string& name) {
    const auto [place, added] = rules_.try_emplace(name);
    if (added) place->second.id = grammar_.AddRule(name);
    return place->second;
  }

  absl::Status ParseRule() {
    const std::string name = TakeName();
    SkipBlanks();
    if (name.empty() || !cursor_.TryTake("::=")) {
      return cursor_.Error("expected a rule: name ::= ...");
    }
    if (std::exchange(Named(name).defined, true)) {
      return cursor_.Error(absl::StrCat("rule \"", name, "\" is defined twice"));
    }
    const RuleId id = Named(name).id;
    ASSIGN_OR_RETURN(const ExprId body, ParseAlternatives(0));
    if (!cursor_.at_end() && cursor_.Peek() == ')') return cursor_.Error("unbalanced )");
    grammar_.SetBody(id, body);
    return absl::OkStatus();
  }

  // Whether the next thing is the beginning of another rule.
  bool AtRule() {
    const size_t begin = cursor_.position();
    bool found = !TakeName().empty();
    SkipBlanks();
    found = found && cursor_.TryTake("::=");
    cursor_.MoveTo(begin);
    return found;
  }

  absl::StatusOr<ExprId> ParseAlternatives(int depth) {
    if (!grammar_.budget().CheckDepth(depth, "grammar")) return grammar_.budget().status();
    std::vector<ExprId> branches;
    do {
      ASSIGN_OR_RETURN(const ExprId branch, ParseSequence(depth));
      branches.push_back(branch);
    } while (cursor_.TryTake("|"));
    return grammar_.Alternate(std::move(branches));
  }

  absl::StatusOr<ExprId> ParseSequence(int depth) {
    std::vector<ExprId> parts;
    for (SkipBlanks(); !cursor_.at_end(); SkipBlanks()) {
      const char next = cursor_.Peek();
      if (next == '|' || next == ')' || AtRule()) break;
      if (!grammar_.budget().Work(1)) return grammar_.budget().status();
      ASSIGN_OR_RETURN(const ExprId atom, ParseAtom(depth));
      ASSIGN_OR_RETURN(const auto quantifier, cursor_.TakeQuantifier());
      parts.push_back(quantifier ? grammar_.Repeat(atom, quantifier->first, quantifier->second)
                                 : atom);
    }
    return grammar_.Concat(std::move(parts));
  }

  absl::StatusOr<ExprId> ParseAtom(int depth) {
    if (cursor_.TryTake("\"")) return ParseLiteral();
    if (cursor_.TryTake("[")) {
      ASSIGN_OR_RETURN(const CodePointSet set, cursor_.TakeClass());
      return SpellCharacter(set, TextSpelling::kPlain, &grammar_);
    }
    if (cursor_.TryTake("(")) {
      if (cursor_.Peek() == '=') return cursor_.Error("look-ahead is not supported");
      ASSIGN_OR_RETURN(const ExprId inside, ParseAlternatives(depth + 1));
      if (!cursor_.TryTake(")")) return cursor_.Error("a ( without its )");
      return inside;
    }
    if (cursor_.TryTake(".")) {
      return SpellCharacter(CodePointSet().Complement(), TextSpelling::kPlain, &grammar_);
    }
    if (cursor_.TryTake("<[")) return ParseToken();
    if (cursor_.TryTake("%json")) return ParseSchema();
    const std::string name = TakeName();
    if (name.empty()) return cursor_.Error("expected a literal, a class, a rule's name or a group");
    return grammar_.Call(Named(name).id);
  }

  // After `<[`.
  absl::StatusOr<ExprId> ParseToken() {
    std::string digits;
    while (absl::ascii_isdigit(static_cast<unsigned char>(cursor_.Peek()))) {
      digits.push_back(static_cast<char>(cursor_.Take()));
    }
    uint32_t token_id = 0;
    if (!absl::SimpleAtoi(digits, &token_id) || !cursor_.TryTake("]>")) {
      return cursor_.Error("expected a token: <[id]>");
    }
    const ExprId token = grammar_.Token(token_id);
    if (token != grammar_.Nothing() || !grammar_.budget().ok()) return token;
    return cursor_.Error(absl::StrCat("more than ", kMostTokenSymbols, " different tokens"));
  }

  // After `%json`.
  absl::StatusOr<ExprId> ParseSchema() {
    SkipBlanks();
    const size_t begin = cursor_.position();
    const absl::string_view text = cursor_.rest();
    const size_t length = ObjectBytes(text);
    if (length == 0) return cursor_.Error("expected a JSON schema: %json {...}");
    if (!grammar_.budget().Work(length)) return grammar_.budget().status();
    cursor_.MoveTo(begin + length);
    ASSIGN_OR_RETURN(const ExprId instance, CompileSchema(text.substr(0, length), {}, &grammar_));
    const RuleId rule =
        grammar_.AddRule(absl::StrCat("grammar at byte ", begin, ": the JSON schema"));
    grammar_.SetBody(rule, instance);
    grammar_.SetMustMatch(rule);
    return grammar_.Call(rule);
  }

  // After the opening quote.
  absl::StatusOr<ExprId> ParseLiteral() {
    std::string text;
    while (!cursor_.TryTake("\"")) {
      if (cursor_.at_end() || cursor_.Peek() == '\n') {
        return cursor_.Error("a literal without its closing \"");
      }
      if (!cursor_.TryTake("\\")) {
        AppendCodePoint(cursor_.Take(), &text);
      } else if (cursor_.TryTake("b")) {
        text.push_back('\b');
      } else {
        ASSIGN_OR_RETURN(const CodePointSet set, cursor_.TakeEscape());
        if (set.ranges().size() != 1 || set.ranges().front().first != set.ranges().front().second) {
          return cursor_.Error("a class of characters inside a literal");
        }
        AppendCodePoint(set.ranges().front().first, &text);
      }
    }
    return grammar_.Literal(text);
  }

  PatternCursor cursor_;
  Grammar& grammar_;
  absl::flat_hash_map<std::string, NamedRule> rules_;
};

}  // namespace

absl::Status ParseEbnf(absl::string_view text, Grammar* grammar) {
  if (!IsValidUtf8(text)) return absl::InvalidArgumentError("grammar: it is not UTF-8");
  return EbnfParser(text, grammar).Parse();
}

}  // namespace baton::structured
