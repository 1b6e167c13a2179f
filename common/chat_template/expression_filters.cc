// ExpressionParser's filters and tests: what follows `|` and `is`.
#include <string>

#include "absl/strings/str_cat.h"

#include "common/chat_template/expression_parser.h"
#include "common/chat_template/filters.h"
#include "common/chat_template/predicates.h"
#include "common/status/status_macros.h"

namespace baton {

ExprOr ExpressionParser::ParseFiltersAndTests(std::unique_ptr<Expr> subject) {
  while (true) {
    if (stream_.IsOperator("|")) {
      ASSIGN_OR_RETURN(subject, ParseFilter(std::move(subject)));
    } else if (stream_.IsName("is")) {
      ASSIGN_OR_RETURN(subject, ParseTest(std::move(subject)));
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

ExprOr ExpressionParser::ParseFilter(std::unique_ptr<Expr> subject) {
  stream_.Take();
  if (!stream_.Is(TokenKind::kName)) return stream_.Unexpected("a filter");
  auto filter = Make(ExprKind::kFilter);
  if (!IsFilterName(stream_.current().text)) return stream_.Unexpected("a filter that is known");
  filter->text = stream_.Take().text;
  filter->args.push_back(std::move(subject));
  if (stream_.IsOperator("(")) RETURN_IF_ERROR(ParseArguments(*filter));
  return Finish(std::move(filter));
}

ExprOr ExpressionParser::ParseFilters() {
  std::unique_ptr<Expr> filters;
  while (stream_.IsOperator("|")) {
    ASSIGN_OR_RETURN(filters, ParseFilter(std::move(filters)));
  }
  return filters;
}

ExprOr ExpressionParser::ParseTest(std::unique_ptr<Expr> subject) {
  stream_.Take();
  const bool negated = stream_.TakeName("not");
  if (!stream_.Is(TokenKind::kName)) return stream_.Unexpected("a test");
  auto test = Make(ExprKind::kTest);
  if (!IsTestName(stream_.current().text)) return stream_.Unexpected("a test that is known");
  test->text = stream_.Take().text;
  test->args.push_back(std::move(subject));
  const bool word_follows = stream_.Is(TokenKind::kName) && !stream_.IsName("else") &&
                            !stream_.IsName("or") && !stream_.IsName("and") &&
                            !stream_.IsName("if");
  if (word_follows && stream_.IsName("is")) return stream_.Unexpected("one test at a time");
  if (stream_.IsOperator("(")) {
    RETURN_IF_ERROR(ParseArguments(*test));
  } else if (word_follows || stream_.Is(TokenKind::kString) || stream_.Is(TokenKind::kInteger) ||
             stream_.Is(TokenKind::kFloat) || stream_.IsOperator("[") || stream_.IsOperator("{")) {
    const TokenStream::Level level(stream_);
    RETURN_IF_ERROR(level.Check());
    ASSIGN_OR_RETURN(auto argument, ParsePrimary());
    ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
    test->args.push_back(std::move(argument));
  }
  if (!negated) return Finish(std::move(test));
  auto inverse = Make(ExprKind::kNot);
  ASSIGN_OR_RETURN(auto finished, Finish(std::move(test)));
  inverse->args.push_back(std::move(finished));
  return Finish(std::move(inverse));
}

}  // namespace baton
