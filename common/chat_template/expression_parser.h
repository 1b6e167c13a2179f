// Expressions of a template.
#pragma once

#include <initializer_list>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/chat_template/syntax.h"
#include "common/chat_template/token_stream.h"

namespace baton {

using ExprOr = absl::StatusOr<std::unique_ptr<Expr>>;

// Reads from `stream`, which must outlive it. All errors are InvalidArgument with the line; a tree
// deeper than the stream's limit is one.
class ExpressionParser {
 private:
  using Member = ExprOr (ExpressionParser::*)();

 public:
  explicit ExpressionParser(TokenStream& stream) : stream_(stream) {}

  // One expression, or several with commas between them: a tuple.
  ExprOr ParseTuple() { return ParseTupleOf(&ExpressionParser::ParseExpression); }
  // The same, of expressions that are no `a if b else c`.
  ExprOr ParseTupleWithoutConditions() { return ParseTupleOf(&ExpressionParser::ParseOr); }
  // One expression.
  ExprOr ParseExpression();
  // Filters without a subject, as in `{% set x | trim %}`: args[0] of the innermost is null.
  ExprOr ParseFilters();

 private:
  std::unique_ptr<Expr> Make(ExprKind kind) const;
  // Sets the depth from the parts.
  ExprOr Finish(std::unique_ptr<Expr> expr) const;
  ExprOr Constant(Value value);

  ExprOr ParseTupleOf(Member member);
  ExprOr ParseOr();
  ExprOr ParseAnd();
  ExprOr ParseNot();
  ExprOr ParseCompare();
  ExprOr ParseSum();
  ExprOr ParseConcatenation();
  ExprOr ParseProduct();
  ExprOr ParsePower();
  ExprOr ParseUnary();
  ExprOr ParseUnaryOperand(bool with_filters);
  ExprOr ParsePrimary();
  ExprOr ParseName();
  ExprOr ParseNumber();
  ExprOr ParseText();
  ExprOr ParseParentheses();
  ExprOr ParseList();
  ExprOr ParseDict();
  ExprOr ParsePostfix(std::unique_ptr<Expr> subject);
  ExprOr ParseAttribute(std::unique_ptr<Expr> subject);
  ExprOr ParseSubscript(std::unique_ptr<Expr> subject);
  ExprOr ParseFiltersAndTests(std::unique_ptr<Expr> subject);
  ExprOr ParseFilter(std::unique_ptr<Expr> subject);
  ExprOr ParseTest(std::unique_ptr<Expr> subject);
  absl::Status ParseArguments(Expr& call);
  ExprOr ParseChain(ExprKind kind, Member operand, std::initializer_list<absl::string_view> ops);
  ExprOr ParseWords(ExprKind kind, Member operand, absl::string_view word);

  TokenStream& stream_;
};

}  // namespace baton
