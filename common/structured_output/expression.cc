#include "common/structured_output/expression.h"

#include <algorithm>
#include <utility>

namespace baton::structured {

Grammar::Grammar(CompileBudget* budget) : budget_(budget) {
  exprs_.push_back({.kind = ExprKind::kEmpty});
  exprs_.push_back({.kind = ExprKind::kNothing});
}

ExprId Grammar::Add(Expr expr) {
  // Beyond the budget nothing is kept: what is asked for is never compiled.
  if (!budget_->Work(4 + expr.parts.size())) return Nothing();
  exprs_.push_back(std::move(expr));
  return static_cast<ExprId>(exprs_.size() - 1);
}

ExprId Grammar::Byte(uint8_t low, uint8_t high) {
  return Add({.kind = ExprKind::kByte, .low = low, .high = high});
}

ExprId Grammar::Literal(absl::string_view bytes) {
  std::vector<ExprId> parts;
  parts.reserve(bytes.size());
  for (const char byte : bytes) {
    parts.push_back(Byte(static_cast<uint8_t>(byte), static_cast<uint8_t>(byte)));
  }
  return Concat(std::move(parts));
}

ExprId Grammar::Token(uint32_t token_id) {
  auto found = std::find(token_symbols_.begin(), token_symbols_.end(), token_id);
  if (found == token_symbols_.end()) {
    if (token_symbols_.size() == kMostTokenSymbols) return Nothing();
    found = token_symbols_.insert(found, token_id);
  }
  const auto symbol = static_cast<uint8_t>(kFirstTokenSymbol + (found - token_symbols_.begin()));
  return Byte(symbol, symbol);
}

ExprId Grammar::Concat(std::vector<ExprId> parts) {
  if (parts.empty()) return Empty();
  if (parts.size() == 1) return parts.front();
  return Add({.kind = ExprKind::kConcat, .parts = std::move(parts)});
}

ExprId Grammar::Alternate(std::vector<ExprId> parts) {
  if (parts.empty()) return Nothing();
  if (parts.size() == 1) return parts.front();
  return Add({.kind = ExprKind::kAlternate, .parts = std::move(parts)});
}

ExprId Grammar::Repeat(ExprId part, uint32_t least, uint32_t most) {
  if (most == 0) return Empty();
  if (least == 1 && most == 1) return part;
  return Add({.kind = ExprKind::kRepeat, .least = least, .most = most, .parts = {part}});
}

ExprId Grammar::Call(RuleId rule) { return Add({.kind = ExprKind::kCall, .rule = rule}); }

RuleId Grammar::AddRule(absl::string_view name) {
  budget_->AddRule();
  rules_.push_back({.name = std::string(name), .body = Nothing()});
  return static_cast<RuleId>(rules_.size() - 1);
}

}  // namespace baton::structured
