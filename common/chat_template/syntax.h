// A template as a tree.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/chat_template/value.h"

namespace baton {

enum class ExprKind {
  kConstant,    // constant
  kName,        // text
  kList,        // args
  kTuple,       // args
  kDict,        // args: key, value, key, value ...
  kAttribute,   // args[0].text
  kItem,        // args[0][args[1]]
  kSlice,       // args[0][args[1]:args[2]:args[3]]; each of the three may be null
  kCall,        // args[0](args[1] ..., named ...)
  kFilter,      // args[0]|text(args[1] ..., named ...)
  kTest,        // args[0] is text(args[1] ...)
  kNot,         // args[0]
  kNegative,    // args[0]
  kPositive,    // args[0]
  kArithmetic,  // args[0] ops[0] args[1] ops[1] ..., from the left
  kCompare,     // the same, as Python chains comparisons
  kAnd,         // args
  kOr,          // args
  kCondition,   // args[0] if args[1] else args[2], which may be null
};

struct Expr {
  ExprKind kind = ExprKind::kConstant;
  int line = 1;
  std::string text;
  Value constant;
  std::vector<std::unique_ptr<Expr>> args;
  std::vector<std::pair<std::string, std::unique_ptr<Expr>>> named;
  std::vector<std::string> ops;
  size_t depth = 1;  // of the tree; bounded by the parser
};

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

// What a `set` or a `for` assigns to: names, or one attribute of a namespace.
struct Target {
  std::vector<std::string> names;
  bool unpacks = false;   // `a, b`: each name gets an item
  std::string attribute;  // not empty: names[0].attribute
};

// Also what a macro value points to: lives as long as the template.
struct MacroSyntax {
  std::string name;
  std::vector<std::pair<std::string, std::unique_ptr<Expr>>> parameters;  // with default or null
  Block body;
};

enum class StatementKind {
  kText,      // text
  kOutput,    // expr
  kIf,        // branches, body for else
  kFor,       // for target in expr if condition: body, else: otherwise
  kSet,       // target = expr
  kSetBlock,  // target = text of body, through expr (filters over a null subject) where present
  kMacro,     // macro
  kBreak,
  kContinue,
  kPlain,  // body
};

struct Statement {
  StatementKind kind = StatementKind::kText;
  int line = 1;
  std::string text;
  std::unique_ptr<Expr> expr;
  std::unique_ptr<Expr> condition;
  std::vector<std::pair<std::unique_ptr<Expr>, Block>> branches;
  Target target;
  Block body;
  Block otherwise;
  std::unique_ptr<MacroSyntax> macro;
};

}  // namespace baton
