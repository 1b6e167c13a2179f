// Grammars as they are written down: rules whose right sides are regular expressions over bytes and
// other rules. Every kind of constraint becomes one of these.
//
// A token that stands for no text (one that was added to the vocabulary) is a symbol of its own:
// one of the bytes from kFirstTokenSymbol, which no text in UTF-8 holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

#include "common/structured_output/compile_budget.h"

namespace baton::structured {

using ExprId = uint32_t;
using RuleId = uint32_t;

enum class ExprKind : uint8_t {
  kEmpty,      // the empty string
  kNothing,    // no string at all
  kByte,       // one byte of [low, high]
  kConcat,     // parts one after the other
  kAlternate,  // one of the parts
  kRepeat,     // parts[0], `least` to `most` times
  kCall,       // what `rule` matches
};

inline constexpr uint32_t kUnbounded = UINT32_MAX;

inline constexpr uint8_t kFirstTokenSymbol = 0xF8;
inline constexpr size_t kMostTokenSymbols = 8;

struct Expr {
  ExprKind kind = ExprKind::kEmpty;
  uint8_t low = 0;
  uint8_t high = 0;
  RuleId rule = 0;
  uint32_t least = 0;
  uint32_t most = 0;
  std::vector<ExprId> parts;
};

struct RuleNode;

struct Rule {
  std::string name;  // for messages
  ExprId body = 0;
  // Instead of the body: see rule_automaton.h.
  std::shared_ptr<const std::vector<RuleNode>> nodes;
  bool must_match = false;  // a grammar that comes to it is refused if it matches no text
};

// Expressions share parts freely; a part is compiled once for each place that it stands in.
class Grammar final {
 public:
  // The budget must outlive the grammar; it is charged for every expression.
  explicit Grammar(CompileBudget* budget);

  ExprId Empty() const { return 0; }
  ExprId Nothing() const { return 1; }
  ExprId Byte(uint8_t low, uint8_t high);
  ExprId Literal(absl::string_view bytes);
  // The token of this id, which stands for no text. Nothing() if there are kMostTokenSymbols
  // others.
  ExprId Token(uint32_t token_id);
  ExprId Concat(std::vector<ExprId> parts);
  ExprId Alternate(std::vector<ExprId> parts);
  ExprId Optional(ExprId part) { return Alternate({Empty(), part}); }
  ExprId Repeat(ExprId part, uint32_t least, uint32_t most);
  ExprId Call(RuleId rule);

  // A rule that matches nothing until its body is set.
  RuleId AddRule(absl::string_view name);
  void SetBody(RuleId rule, ExprId body) { rules_[rule].body = body; }

  void SetMustMatch(RuleId rule) { rules_[rule].must_match = true; }

  void SetNodes(RuleId rule, std::shared_ptr<const std::vector<RuleNode>> nodes) {
    rules_[rule].nodes = std::move(nodes);
  }

  const Expr& expr(ExprId id) const { return exprs_[id]; }
  const std::vector<Rule>& rules() const { return rules_; }
  // Tokens by their symbols.
  const std::vector<uint32_t>& token_symbols() const { return token_symbols_; }
  CompileBudget& budget() const { return *budget_; }

  RuleId root = 0;

 private:
  ExprId Add(Expr expr);

  CompileBudget* const budget_;
  std::vector<Expr> exprs_;
  std::vector<Rule> rules_;
  std::vector<uint32_t> token_symbols_;
};

}  // namespace baton::structured
