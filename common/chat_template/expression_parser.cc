#include "common/chat_template/expression_parser.h"

#include <algorithm>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/filters.h"
#include "common/chat_template/predicates.h"
#include "common/status/status_macros.h"

namespace baton {

std::unique_ptr<Expr> ExpressionParser::Make(ExprKind kind) const {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = stream_.current().line;
  return expr;
}

ExprOr ExpressionParser::Finish(std::unique_ptr<Expr> expr) const {
  size_t depth = 0;
  for (const auto& arg : expr->args) depth = std::max(depth, arg == nullptr ? 0 : arg->depth);
  for (const auto& [name, arg] : expr->named) depth = std::max(depth, arg->depth);
  expr->depth = depth + 1;
  if (expr->depth <= stream_.max_depth()) return expr;
  return TemplateError(expr->line, absl::StrCat("an expression is nested deeper than ",
                                                stream_.max_depth(), " levels"));
}

ExprOr ExpressionParser::Constant(Value value) {
  auto expr = Make(ExprKind::kConstant);
  expr->constant = std::move(value);
  stream_.Take();
  return expr;
}

ExprOr ExpressionParser::ParseTupleOf(Member member) {
  ASSIGN_OR_RETURN(auto first, (this->*member)());
  if (!stream_.IsOperator(",")) return first;
  auto tuple = Make(ExprKind::kTuple);
  tuple->args.push_back(std::move(first));
  while (stream_.TakeOperator(",")) {
    if (stream_.IsOperator(")") || stream_.IsName("if") || stream_.Is(TokenKind::kBlockEnd) ||
        stream_.Is(TokenKind::kVariableEnd)) {
      break;
    }
    ASSIGN_OR_RETURN(auto item, (this->*member)());
    tuple->args.push_back(std::move(item));
  }
  return Finish(std::move(tuple));
}

ExprOr ExpressionParser::ParseExpression() {
  const TokenStream::Level level(stream_);
  RETURN_IF_ERROR(level.Check());
  ASSIGN_OR_RETURN(auto expr, ParseOr());
  while (stream_.IsName("if")) {
    auto condition = Make(ExprKind::kCondition);
    stream_.Take();
    condition->args.push_back(std::move(expr));
    ASSIGN_OR_RETURN(auto test, ParseOr());
    condition->args.push_back(std::move(test));
    std::unique_ptr<Expr> otherwise;
    if (stream_.TakeName("else")) {
      ASSIGN_OR_RETURN(otherwise, ParseExpression());
    }
    condition->args.push_back(std::move(otherwise));
    ASSIGN_OR_RETURN(expr, Finish(std::move(condition)));
  }
  return expr;
}

ExprOr ExpressionParser::ParseWords(ExprKind kind, Member operand, absl::string_view word) {
  ASSIGN_OR_RETURN(auto first, (this->*operand)());
  if (!stream_.IsName(word)) return first;
  auto chain = Make(kind);
  chain->args.push_back(std::move(first));
  while (stream_.TakeName(word)) {
    ASSIGN_OR_RETURN(auto next, (this->*operand)());
    chain->args.push_back(std::move(next));
  }
  return Finish(std::move(chain));
}

ExprOr ExpressionParser::ParseOr() {
  return ParseWords(ExprKind::kOr, &ExpressionParser::ParseAnd, "or");
}

ExprOr ExpressionParser::ParseAnd() {
  return ParseWords(ExprKind::kAnd, &ExpressionParser::ParseNot, "and");
}

ExprOr ExpressionParser::ParseNot() {
  if (!stream_.IsName("not")) return ParseCompare();
  const TokenStream::Level level(stream_);
  RETURN_IF_ERROR(level.Check());
  auto expr = Make(ExprKind::kNot);
  stream_.Take();
  ASSIGN_OR_RETURN(auto operand, ParseNot());
  expr->args.push_back(std::move(operand));
  return Finish(std::move(expr));
}

ExprOr ExpressionParser::ParseCompare() {
  ASSIGN_OR_RETURN(auto first, ParseSum());
  auto chain = Make(ExprKind::kCompare);
  chain->args.push_back(std::move(first));
  while (true) {
    std::string op;
    for (const absl::string_view known : {"==", "!=", "<=", ">=", "<", ">"}) {
      if (stream_.IsOperator(known)) op = std::string(known);
    }
    if (stream_.IsName("in")) op = "in";
    if (stream_.IsName("not") && stream_.next().kind == TokenKind::kName &&
        stream_.next().text == "in") {
      op = "not in";
      stream_.Take();
    }
    if (op.empty()) break;
    stream_.Take();
    ASSIGN_OR_RETURN(auto operand, ParseSum());
    chain->ops.push_back(op);
    chain->args.push_back(std::move(operand));
  }
  if (chain->ops.empty()) return std::move(chain->args[0]);
  return Finish(std::move(chain));
}

ExprOr ExpressionParser::ParseChain(ExprKind kind, Member operand,
                                    std::initializer_list<absl::string_view> ops) {
  ASSIGN_OR_RETURN(auto first, (this->*operand)());
  auto chain = Make(kind);
  chain->args.push_back(std::move(first));
  while (stream_.Is(TokenKind::kOperator) &&
         std::find(ops.begin(), ops.end(), stream_.current().text) != ops.end()) {
    chain->ops.push_back(stream_.Take().text);
    ASSIGN_OR_RETURN(auto next, (this->*operand)());
    chain->args.push_back(std::move(next));
  }
  if (chain->ops.empty()) return std::move(chain->args[0]);
  return Finish(std::move(chain));
}

ExprOr ExpressionParser::ParseSum() {
  return ParseChain(ExprKind::kArithmetic, &ExpressionParser::ParseConcatenation, {"+", "-"});
}

ExprOr ExpressionParser::ParseConcatenation() {
  return ParseChain(ExprKind::kArithmetic, &ExpressionParser::ParseProduct, {"~"});
}

ExprOr ExpressionParser::ParseProduct() {
  return ParseChain(ExprKind::kArithmetic, &ExpressionParser::ParsePower, {"*", "/", "//", "%"});
}

ExprOr ExpressionParser::ParsePower() {
  return ParseChain(ExprKind::kArithmetic, &ExpressionParser::ParseUnary, {"**"});
}

ExprOr ExpressionParser::ParseUnary() { return ParseUnaryOperand(/*with_filters=*/true); }

ExprOr ExpressionParser::ParseUnaryOperand(bool with_filters) {
  const TokenStream::Level level(stream_);
  RETURN_IF_ERROR(level.Check());
  std::unique_ptr<Expr> expr;
  if (stream_.IsOperator("-") || stream_.IsOperator("+")) {
    expr = Make(stream_.IsOperator("-") ? ExprKind::kNegative : ExprKind::kPositive);
    stream_.Take();
    ASSIGN_OR_RETURN(auto operand, ParseUnaryOperand(/*with_filters=*/false));
    expr->args.push_back(std::move(operand));
    ASSIGN_OR_RETURN(expr, Finish(std::move(expr)));
  } else {
    ASSIGN_OR_RETURN(expr, ParsePrimary());
  }
  ASSIGN_OR_RETURN(expr, ParsePostfix(std::move(expr)));
  if (!with_filters) return expr;
  return ParseFiltersAndTests(std::move(expr));
}

ExprOr ExpressionParser::ParsePrimary() {
  switch (stream_.current().kind) {
    case TokenKind::kName:
      return ParseName();
    case TokenKind::kString:
      return ParseText();
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return ParseNumber();
    default:
      break;
  }
  if (stream_.IsOperator("(")) return ParseParentheses();
  if (stream_.IsOperator("[")) return ParseList();
  if (stream_.IsOperator("{")) return ParseDict();
  return stream_.Unexpected("an expression");
}

ExprOr ExpressionParser::ParseName() {
  const std::string& name = stream_.current().text;
  if (name == "true" || name == "True") return Constant(Value(true));
  if (name == "false" || name == "False") return Constant(Value(false));
  if (name == "none" || name == "None") return Constant(Value());
  auto expr = Make(ExprKind::kName);
  expr->text = stream_.Take().text;
  return expr;
}

ExprOr ExpressionParser::ParseText() {
  auto expr = Make(ExprKind::kConstant);
  std::string text;
  while (stream_.Is(TokenKind::kString)) text += stream_.Take().text;
  expr->constant = Value(std::move(text));
  return expr;
}

ExprOr ExpressionParser::ParseNumber() {
  const std::string& text = stream_.current().text;
  if (stream_.Is(TokenKind::kFloat)) {
    double value = 0;
    if (absl::SimpleAtod(text, &value)) return Constant(Value(value));
  } else {
    int64_t value = 0;
    if (absl::SimpleAtoi(text, &value)) return Constant(Value(value));
  }
  return stream_.Unexpected("a number that fits 64 bits");
}

ExprOr ExpressionParser::ParseParentheses() {
  auto empty = Make(ExprKind::kTuple);
  stream_.Take();
  if (stream_.TakeOperator(")")) return empty;
  ASSIGN_OR_RETURN(auto expr, ParseTuple());
  RETURN_IF_ERROR(stream_.ExpectOperator(")"));
  return expr;
}

ExprOr ExpressionParser::ParseList() {
  auto list = Make(ExprKind::kList);
  stream_.Take();
  while (!stream_.IsOperator("]")) {
    if (!list->args.empty()) RETURN_IF_ERROR(stream_.ExpectOperator(","));
    if (stream_.IsOperator("]")) break;
    ASSIGN_OR_RETURN(auto item, ParseExpression());
    list->args.push_back(std::move(item));
  }
  stream_.Take();
  return Finish(std::move(list));
}

ExprOr ExpressionParser::ParseDict() {
  auto dict = Make(ExprKind::kDict);
  stream_.Take();
  while (!stream_.IsOperator("}")) {
    if (!dict->args.empty()) RETURN_IF_ERROR(stream_.ExpectOperator(","));
    if (stream_.IsOperator("}")) break;
    ASSIGN_OR_RETURN(auto key, ParseExpression());
    RETURN_IF_ERROR(stream_.ExpectOperator(":"));
    ASSIGN_OR_RETURN(auto value, ParseExpression());
    dict->args.push_back(std::move(key));
    dict->args.push_back(std::move(value));
  }
  stream_.Take();
  return Finish(std::move(dict));
}

ExprOr ExpressionParser::ParsePostfix(std::unique_ptr<Expr> subject) {
  while (true) {
    if (stream_.IsOperator(".")) {
      ASSIGN_OR_RETURN(subject, ParseAttribute(std::move(subject)));
    } else if (stream_.IsOperator("[")) {
      ASSIGN_OR_RETURN(subject, ParseSubscript(std::move(subject)));
    } else if (stream_.IsOperator("(")) {
      auto call = Make(ExprKind::kCall);
      call->args.push_back(std::move(subject));
      RETURN_IF_ERROR(ParseArguments(*call));
      ASSIGN_OR_RETURN(subject, Finish(std::move(call)));
    } else {
      return subject;
    }
  }
}

ExprOr ExpressionParser::ParseAttribute(std::unique_ptr<Expr> subject) {
  stream_.Take();
  if (stream_.Is(TokenKind::kInteger)) {
    auto item = Make(ExprKind::kItem);
    item->args.push_back(std::move(subject));
    ASSIGN_OR_RETURN(auto index, ParseNumber());
    item->args.push_back(std::move(index));
    return Finish(std::move(item));
  }
  if (!stream_.Is(TokenKind::kName)) return stream_.Unexpected("a name after '.'");
  auto attribute = Make(ExprKind::kAttribute);
  attribute->args.push_back(std::move(subject));
  attribute->text = stream_.Take().text;
  return Finish(std::move(attribute));
}

ExprOr ExpressionParser::ParseSubscript(std::unique_ptr<Expr> subject) {
  auto item = Make(ExprKind::kItem);
  stream_.Take();
  item->args.push_back(std::move(subject));
  item->args.emplace_back();
  if (!stream_.IsOperator(":")) {
    ASSIGN_OR_RETURN(item->args[1], ParseExpression());
  }
  if (stream_.IsOperator(":")) item->kind = ExprKind::kSlice;
  while (item->kind == ExprKind::kSlice && item->args.size() < 4) {
    item->args.emplace_back();
    if (!stream_.TakeOperator(":")) continue;
    if (stream_.IsOperator(":") || stream_.IsOperator("]")) continue;
    ASSIGN_OR_RETURN(item->args.back(), ParseExpression());
  }
  RETURN_IF_ERROR(stream_.ExpectOperator("]"));
  return Finish(std::move(item));
}

// After the opening bracket: arguments by place, then by name.
absl::Status ExpressionParser::ParseArguments(Expr& call) {
  stream_.Take();
  bool first = true;
  while (!stream_.IsOperator(")")) {
    if (!std::exchange(first, false)) RETURN_IF_ERROR(stream_.ExpectOperator(","));
    if (stream_.IsOperator(")")) break;
    const bool is_named = stream_.Is(TokenKind::kName) &&
                          stream_.next().kind == TokenKind::kOperator && stream_.next().text == "=";
    if (is_named) {
      const std::string name = stream_.Take().text;
      stream_.Take();
      ASSIGN_OR_RETURN(auto value, ParseExpression());
      call.named.emplace_back(name, std::move(value));
      continue;
    }
    if (!call.named.empty()) return stream_.Unexpected("a named argument");
    ASSIGN_OR_RETURN(auto value, ParseExpression());
    call.args.push_back(std::move(value));
  }
  stream_.Take();
  return absl::OkStatus();
}

}  // namespace baton
