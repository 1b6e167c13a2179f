#include "common/structured_output/constraint.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "common/structured_output/ebnf_parser.h"
#include "common/structured_output/expression.h"
#include "common/structured_output/json_rules.h"
#include "common/structured_output/regex_parser.h"
#include "common/structured_output/schema_compiler.h"
#include "common/utf8/utf8.h"

namespace baton::structured {
namespace {

absl::Status CheckSize(absl::string_view what, size_t bytes, size_t most) {
  if (bytes <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the ", what, " has ", bytes, " bytes; at most ", most));
}

absl::Status CheckText(const Constraint& constraint, const CompileLimits& limits) {
  const size_t bytes = constraint.text.size();
  if (constraint.whitespace_pattern) {
    RETURN_IF_ERROR(
        CheckSize("whitespace pattern", constraint.whitespace_pattern->size(), limits.regex_bytes));
  }
  switch (constraint.kind) {
    case ConstraintKind::kJsonSchema:
      return CheckSize("schema", bytes, limits.schema_bytes);
    case ConstraintKind::kRegex:
      return CheckSize("regular expression", bytes, limits.regex_bytes);
    default:
      return CheckSize("grammar", bytes, limits.text_bytes);
  }
}

absl::StatusOr<ExprId> BuildChoice(const Constraint& constraint, Grammar* grammar) {
  if (constraint.choices.empty()) return absl::InvalidArgumentError("there is no choice");
  std::vector<ExprId> choices;
  size_t bytes = 0;
  for (const std::string& choice : constraint.choices) {
    if (choice.empty()) return absl::InvalidArgumentError("a choice is empty");
    if (!IsValidUtf8(choice)) return absl::InvalidArgumentError("a choice is not UTF-8");
    bytes += choice.size();
    choices.push_back(grammar->Literal(choice));
  }
  RETURN_IF_ERROR(CheckSize("list of choices", bytes, grammar->budget().limits().text_bytes));
  return grammar->Alternate(std::move(choices));
}

absl::StatusOr<ExprId> BuildRoot(const Constraint& constraint, Grammar* grammar) {
  switch (constraint.kind) {
    case ConstraintKind::kJsonObject: {
      ASSIGN_OR_RETURN(
          const JsonRules rules,
          JsonRules::Create({constraint.compact, constraint.whitespace_pattern}, grammar));
      return rules.Object();
    }
    case ConstraintKind::kJsonSchema:
      return CompileSchema(constraint.text,
                           {.style = {constraint.compact, constraint.whitespace_pattern}}, grammar);
    case ConstraintKind::kRegex:
      return ParseRegex(constraint.text, {}, grammar);
    case ConstraintKind::kChoice:
      return BuildChoice(constraint, grammar);
    case ConstraintKind::kGrammar: {
      RETURN_IF_ERROR(ParseEbnf(constraint.text, grammar));
      return grammar->Call(grammar->root);
    }
  }
  return absl::InvalidArgumentError("a constraint of unknown kind");
}

absl::StatusOr<Automaton> CompileWithin(const Constraint& constraint, CompileBudget* budget) {
  RETURN_IF_ERROR(CheckText(constraint, budget->limits()));
  Grammar grammar(budget);
  ASSIGN_OR_RETURN(const ExprId body, BuildRoot(constraint, &grammar));
  const RuleId root = grammar.AddRule("the constraint");
  grammar.SetBody(root, body);
  grammar.root = root;
  return CompileGrammar(grammar);
}

}  // namespace

absl::StatusOr<Automaton> CompileConstraint(const Constraint& constraint,
                                            const CompileLimits& limits, CompileCost* cost) {
  CompileBudget budget(limits);
  absl::StatusOr<Automaton> compiled = CompileWithin(constraint, &budget);
  if (cost != nullptr) {
    *cost = budget.cost();
    cost->text_bytes = constraint.text.size();
  }
  return compiled;
}

}  // namespace baton::structured
