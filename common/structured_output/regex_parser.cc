#include "common/structured_output/regex_parser.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "common/structured_output/pattern_cursor.h"
#include "common/utf8/utf8.h"

namespace baton::structured {
namespace {

class RegexParser {
 public:
  RegexParser(absl::string_view pattern, const RegexOptions& options, Grammar* grammar)
      : cursor_(pattern, "regex"), options_(options), grammar_(*grammar) {}

  absl::StatusOr<ExprId> Parse() {
    ASSIGN_OR_RETURN(const ExprId out, ParseAlternatives(0, true));
    if (!cursor_.at_end()) return cursor_.Error("unbalanced )");
    return out;
  }

 private:
  // `outer`: nothing stands before or behind the alternatives but groups around them.
  absl::StatusOr<ExprId> ParseAlternatives(int depth, bool outer) {
    if (!grammar_.budget().CheckDepth(depth, "regex")) return grammar_.budget().status();
    std::vector<ExprId> branches;
    do {
      ASSIGN_OR_RETURN(const ExprId branch, ParseSequence(depth, outer));
      branches.push_back(branch);
    } while (cursor_.TryTake("|"));
    return grammar_.Alternate(std::move(branches));
  }

  bool AtBranchEnd() const {
    return cursor_.at_end() || cursor_.Peek() == '|' || cursor_.Peek() == ')';
  }

  absl::StatusOr<ExprId> ParseSequence(int depth, bool outer) {
    std::vector<ExprId> parts;
    bool begins = outer && cursor_.TryTake("^");
    bool ends = false;
    if (outer && !begins && cursor_.Peek() == '(' && GroupIsWholeBranch()) {
      return ParseGroup(depth, true);  // which anchors its own alternatives
    }
    while (!AtBranchEnd()) {
      if (!grammar_.budget().ok()) return grammar_.budget().status();
      if (cursor_.TryTake("$")) {
        if (!outer || !AtBranchEnd()) return cursor_.Error("$ is supported at the end only");
        ends = true;
        break;
      }
      ASSIGN_OR_RETURN(const ExprId atom, ParseAtom(depth));
      ASSIGN_OR_RETURN(const auto quantifier, cursor_.TakeQuantifier());
      if (!quantifier.has_value()) {
        parts.push_back(atom);
        continue;
      }
      cursor_.TryTake("?");  // lazy: the same language
      const char next = cursor_.Peek();
      if (next == '+' || next == '*' || next == '?') {
        return cursor_.Error("a quantifier behind a quantifier");
      }
      parts.push_back(grammar_.Repeat(atom, quantifier->first, quantifier->second));
    }
    if (outer && options_.search) {
      if (!begins) parts.insert(parts.begin(), AnyText());
      if (!ends) parts.push_back(AnyText());
    }
    return grammar_.Concat(std::move(parts));
  }

  ExprId AnyText() {
    if (!any_text_) {
      const ExprId any = SpellCharacter(CodePointSet().Complement(), options_.spelling, &grammar_);
      any_text_ = grammar_.Repeat(any, 0, kUnbounded);
    }
    return *any_text_;
  }

  // Whether the group that begins here ends where its branch does.
  bool GroupIsWholeBranch() {
    const size_t begin = cursor_.position();
    int open = 0;
    bool in_class = false;
    bool whole = false;
    while (!cursor_.at_end() && grammar_.budget().Work(1)) {
      const char32_t at = cursor_.Take();
      if (at == '\\' && !cursor_.at_end()) {
        cursor_.Take();
      } else if (in_class) {
        in_class = at != ']';
      } else if (at == '[') {
        in_class = true;
        cursor_.TryTake("^");
        cursor_.TryTake("]");
      } else if (at == '(') {
        ++open;
      } else if (at == ')' && --open == 0) {
        whole = AtBranchEnd();
        break;
      }
    }
    cursor_.MoveTo(begin);
    return whole;
  }

  absl::StatusOr<ExprId> ParseGroup(int depth, bool outer) {
    cursor_.TryTake("(");
    if (cursor_.TryTake("?")) RETURN_IF_ERROR(TakeGroupKind());
    ASSIGN_OR_RETURN(const ExprId inside, ParseAlternatives(depth + 1, outer));
    if (!cursor_.TryTake(")")) return cursor_.Error("a ( without its )");
    return inside;
  }

  // After `(?`.
  absl::Status TakeGroupKind() {
    if (cursor_.TryTake(":")) return absl::OkStatus();
    cursor_.TryTake("P");
    if (cursor_.TryTake("<") && cursor_.Peek() != '=' && cursor_.Peek() != '!') {
      while (!cursor_.at_end() && cursor_.Peek() != '>') cursor_.Take();
      if (cursor_.TryTake(">")) return absl::OkStatus();
      return cursor_.Error("a group's name without its >");
    }
    return cursor_.Error("look-around, back references and flags are not supported");
  }

  absl::StatusOr<ExprId> ParseAtom(int depth) {
    if (cursor_.Peek() == '(') return ParseGroup(depth, false);
    if (cursor_.TryTake("[")) {
      ASSIGN_OR_RETURN(const CodePointSet set, cursor_.TakeClass());
      return Spell(set);
    }
    if (cursor_.TryTake("\\")) {
      ASSIGN_OR_RETURN(const CodePointSet set, cursor_.TakeEscape());
      return Spell(set);
    }
    if (cursor_.TryTake(".")) {
      CodePointSet set;
      set.Add('\n');
      return Spell(set.Complement());
    }
    const char next = cursor_.Peek();
    if (next == '^') return cursor_.Error("^ is supported at the beginning only");
    if (next == '*' || next == '+' || next == '?') {
      return cursor_.Error("a quantifier without anything before it");
    }
    CodePointSet set;
    set.Add(cursor_.Take());
    return Spell(set);
  }

  ExprId Spell(const CodePointSet& set) {
    return SpellCharacter(set, options_.spelling, &grammar_);
  }

  PatternCursor cursor_;
  const RegexOptions options_;
  Grammar& grammar_;
  std::optional<ExprId> any_text_;
};

}  // namespace

absl::StatusOr<ExprId> ParseRegex(absl::string_view pattern, const RegexOptions& options,
                                  Grammar* grammar) {
  if (!IsValidUtf8(pattern)) return absl::InvalidArgumentError("regex: it is not UTF-8");
  return RegexParser(pattern, options, grammar).Parse();
}

}  // namespace baton::structured
