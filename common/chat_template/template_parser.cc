#include "common/chat_template/template_parser.h"

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/chat_template/expression_parser.h"
#include "common/chat_template/template_lexer.h"
#include "common/chat_template/token_stream.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

using StatementOr = absl::StatusOr<std::unique_ptr<Statement>>;
using Names = std::initializer_list<absl::string_view>;

class TemplateParser {
 public:
  explicit TemplateParser(TokenStream& stream) : stream_(stream), expressions_(stream) {}

  absl::StatusOr<Block> Run() {
    ASSIGN_OR_RETURN(Block block, ParseBlock({}));
    if (!stream_.Is(TokenKind::kEnd)) return stream_.Unexpected("text or a tag");
    return block;
  }

 private:
  std::unique_ptr<Statement> Make(StatementKind kind) const {
    auto statement = std::make_unique<Statement>();
    statement->kind = kind;
    statement->line = stream_.current().line;
    return statement;
  }

  // Up to the end of the template, or up to a block tag with one of the `ends`, of which the name
  // is then current.
  absl::StatusOr<Block> ParseBlock(Names ends) {
    const TokenStream::Level level(stream_);
    RETURN_IF_ERROR(level.Check());
    Block block;
    while (!stream_.Is(TokenKind::kEnd)) {
      if (stream_.Is(TokenKind::kText)) {
        block.push_back(Make(StatementKind::kText));
        block.back()->text = stream_.Take().text;
      } else if (stream_.Is(TokenKind::kVariableBegin)) {
        stream_.Take();
        block.push_back(Make(StatementKind::kOutput));
        ASSIGN_OR_RETURN(block.back()->expr, expressions_.ParseTuple());
        RETURN_IF_ERROR(stream_.Expect(TokenKind::kVariableEnd, "}}"));
      } else {
        RETURN_IF_ERROR(stream_.Expect(TokenKind::kBlockBegin, "a tag"));
        if (!stream_.Is(TokenKind::kName)) return stream_.Unexpected("the name of a tag");
        if (std::find(ends.begin(), ends.end(), stream_.current().text) != ends.end()) {
          return block;
        }
        ASSIGN_OR_RETURN(auto statement, ParseStatement());
        block.push_back(std::move(statement));
      }
    }
    if (ends.size() > 0) return stream_.Unexpected(absl::StrCat("{% ", *(ends.end() - 1), " %}"));
    return block;
  }

  absl::Status EndTag() { return stream_.Expect(TokenKind::kBlockEnd, "%}"); }

  StatementOr ParseStatement() {
    if (stream_.IsName("if")) return ParseIf();
    if (stream_.IsName("for")) return ParseFor();
    if (stream_.IsName("set")) return ParseSet();
    if (stream_.IsName("macro")) return ParseMacro();
    if (stream_.IsName("break")) return ParseJump(StatementKind::kBreak);
    if (stream_.IsName("continue")) return ParseJump(StatementKind::kContinue);
    if (stream_.IsName("generation")) return ParseGeneration();
    return TemplateError(stream_.current().line,
                         absl::StrCat("tag '", stream_.current().text, "' is not supported here"));
  }

  StatementOr ParseJump(StatementKind kind) {
    auto statement = Make(kind);
    if (loops_ == 0) return stream_.Unexpected("this tag inside a for only");
    stream_.Take();
    RETURN_IF_ERROR(EndTag());
    return statement;
  }

  // transformers marks a model's own words with it; the text is the same.
  StatementOr ParseGeneration() {
    auto statement = Make(StatementKind::kPlain);
    stream_.Take();
    RETURN_IF_ERROR(EndTag());
    ASSIGN_OR_RETURN(statement->body, ParseBlock({"endgeneration"}));
    stream_.Take();
    RETURN_IF_ERROR(EndTag());
    return statement;
  }

  StatementOr ParseIf() {
    auto statement = Make(StatementKind::kIf);
    while (true) {
      stream_.Take();  // if or elif
      ASSIGN_OR_RETURN(auto condition, expressions_.ParseTupleWithoutConditions());
      RETURN_IF_ERROR(EndTag());
      ASSIGN_OR_RETURN(Block body, ParseBlock({"elif", "else", "endif"}));
      statement->branches.emplace_back(std::move(condition), std::move(body));
      if (!stream_.IsName("elif")) break;
    }
    if (stream_.TakeName("else")) {
      RETURN_IF_ERROR(EndTag());
      ASSIGN_OR_RETURN(statement->body, ParseBlock({"endif"}));
    }
    stream_.Take();
    RETURN_IF_ERROR(EndTag());
    return statement;
  }

  absl::StatusOr<std::string> TakeTargetName() {
    if (!stream_.Is(TokenKind::kName)) return stream_.Unexpected("a name to assign to");
    for (const absl::string_view word :
         {"true", "false", "none", "True", "False", "None", "loop"}) {
      if (stream_.IsName(word)) return stream_.Unexpected("a name that can be assigned to");
    }
    return stream_.Take().text;
  }

  absl::StatusOr<Target> ParseTarget() {
    Target target;
    const bool in_brackets = stream_.TakeOperator("(");
    ASSIGN_OR_RETURN(std::string name, TakeTargetName());
    target.names.push_back(std::move(name));
    if (!in_brackets && stream_.TakeOperator(".")) {
      if (!stream_.Is(TokenKind::kName)) return stream_.Unexpected("a name after '.'");
      target.attribute = stream_.Take().text;
      return target;
    }
    while (stream_.TakeOperator(",")) {
      target.unpacks = true;
      if (!stream_.Is(TokenKind::kName) || stream_.IsName("in")) break;
      ASSIGN_OR_RETURN(name, TakeTargetName());
      target.names.push_back(std::move(name));
    }
    if (in_brackets) RETURN_IF_ERROR(stream_.ExpectOperator(")"));
    return target;
  }

  StatementOr ParseFor() {
    auto statement = Make(StatementKind::kFor);
    stream_.Take();
    ASSIGN_OR_RETURN(statement->target, ParseTarget());
    if (!statement->target.attribute.empty()) return stream_.Unexpected("plain names in a for");
    if (!stream_.TakeName("in")) return stream_.Unexpected("'in'");
    ASSIGN_OR_RETURN(statement->expr, expressions_.ParseTupleWithoutConditions());
    if (stream_.TakeName("if")) {
      ASSIGN_OR_RETURN(statement->condition, expressions_.ParseExpression());
    }
    RETURN_IF_ERROR(EndTag());
    ++loops_;
    ASSIGN_OR_RETURN(statement->body, ParseBlock({"else", "endfor"}));
    --loops_;
    if (stream_.TakeName("else")) {
      RETURN_IF_ERROR(EndTag());
      ASSIGN_OR_RETURN(statement->otherwise, ParseBlock({"endfor"}));
    }
    stream_.Take();
    RETURN_IF_ERROR(EndTag());
    return statement;
  }

  StatementOr ParseSet() {
    auto statement = Make(StatementKind::kSet);
    stream_.Take();
    ASSIGN_OR_RETURN(statement->target, ParseTarget());
    if (stream_.TakeOperator("=")) {
      ASSIGN_OR_RETURN(statement->expr, expressions_.ParseTuple());
      RETURN_IF_ERROR(EndTag());
      return statement;
    }
    statement->kind = StatementKind::kSetBlock;
    if (statement->target.unpacks) return stream_.Unexpected("one name, or '='");
    ASSIGN_OR_RETURN(statement->expr, expressions_.ParseFilters());
    RETURN_IF_ERROR(EndTag());
    ASSIGN_OR_RETURN(statement->body, ParseBlock({"endset"}));
    stream_.Take();
    RETURN_IF_ERROR(EndTag());
    return statement;
  }

  StatementOr ParseMacro() {
    auto statement = Make(StatementKind::kMacro);
    if (loops_ > 0 || in_macro_) return stream_.Unexpected("a macro outside loops and macros");
    stream_.Take();
    auto macro = std::make_unique<MacroSyntax>();
    ASSIGN_OR_RETURN(macro->name, TakeTargetName());
    RETURN_IF_ERROR(stream_.ExpectOperator("("));
    while (!stream_.IsOperator(")")) {
      if (!macro->parameters.empty()) RETURN_IF_ERROR(stream_.ExpectOperator(","));
      if (stream_.IsOperator(")")) break;
      ASSIGN_OR_RETURN(std::string name, TakeTargetName());
      std::unique_ptr<Expr> default_value;
      if (stream_.TakeOperator("=")) {
        ASSIGN_OR_RETURN(default_value, expressions_.ParseExpression());
      }
      macro->parameters.emplace_back(std::move(name), std::move(default_value));
    }
    stream_.Take();
    RETURN_IF_ERROR(EndTag());
    in_macro_ = true;
    ASSIGN_OR_RETURN(macro->body, ParseBlock({"endmacro"}));
    in_macro_ = false;
    stream_.Take();
    RETURN_IF_ERROR(EndTag());
    statement->macro = std::move(macro);
    return statement;
  }

  TokenStream& stream_;
  ExpressionParser expressions_;
  size_t loops_ = 0;
  bool in_macro_ = false;
};

}  // namespace

absl::StatusOr<Block> ParseTemplate(absl::string_view source, size_t max_depth) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, LexTemplate(source));
  TokenStream stream(std::move(tokens), max_depth);
  return TemplateParser(stream).Run();
}

}  // namespace baton
