#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/chat_template/filters.h"
#include "common/chat_template/functions.h"
#include "common/chat_template/methods.h"
#include "common/chat_template/operators.h"
#include "common/chat_template/predicates.h"
#include "common/chat_template/renderer.h"
#include "common/chat_template/renderer_scopes.h"
#include "common/status/status_macros.h"

namespace baton {

absl::StatusOr<Value> Renderer::Evaluate(const Expr& expr) {
  const DepthScope depth(*this);
  RETURN_IF_ERROR(depth.Check());
  auto value = EvaluateKind(expr);
  if (value.ok() && value->depth() > limits_.nesting + 1) {
    return absl::ResourceExhaustedError(
        absl::StrCat("values nested deeper than ", limits_.nesting, " levels"));
  }
  return value;
}

absl::StatusOr<Value> Renderer::EvaluateKind(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kConstant:
      return expr.constant;
    case ExprKind::kName:
      return FindName(expr.text);
    case ExprKind::kList:
    case ExprKind::kTuple:
      return EvaluateContainer(expr);
    case ExprKind::kDict:
      return EvaluateDict(expr);
    case ExprKind::kAttribute: {
      ASSIGN_OR_RETURN(const Value subject, Evaluate(*expr.args[0]));
      return AttributeOf(subject, expr.text);
    }
    case ExprKind::kItem: {
      ASSIGN_OR_RETURN(const Value subject, Evaluate(*expr.args[0]));
      ASSIGN_OR_RETURN(const Value index, Evaluate(*expr.args[1]));
      if (subject.is_text()) RETURN_IF_ERROR(budget_.SpendText(subject.text().size()));
      return ItemOf(subject, index);
    }
    case ExprKind::kSlice:
      return EvaluateSlice(expr);
    case ExprKind::kCall:
      return EvaluateCall(expr);
    case ExprKind::kFilter: {
      ASSIGN_OR_RETURN(CallArguments arguments, EvaluateArguments(expr));
      return ApplyFilter(expr.text, std::move(arguments), budget_);
    }
    case ExprKind::kTest: {
      ASSIGN_OR_RETURN(CallArguments arguments, EvaluateArguments(expr));
      ASSIGN_OR_RETURN(const bool passes, ApplyTest(expr.text, std::move(arguments)));
      return Value(passes);
    }
    case ExprKind::kArithmetic:
      return EvaluateArithmetic(expr);
    case ExprKind::kCompare:
      return EvaluateCompare(expr);
    case ExprKind::kCondition:
      return EvaluateCondition(expr);
    default:
      return EvaluateLogic(expr);
  }
}

absl::StatusOr<Value> Renderer::EvaluateContainer(const Expr& expr) {
  std::vector<Value> items;
  items.reserve(expr.args.size());
  for (const auto& arg : expr.args) {
    ASSIGN_OR_RETURN(Value item, Evaluate(*arg));
    RETURN_IF_ERROR(CheckStorable(item, limits_.nesting));
    items.push_back(std::move(item));
  }
  return expr.kind == ExprKind::kTuple ? Value::Tuple(std::move(items))
                                       : Value::ListOf(std::move(items));
}

absl::StatusOr<Value> Renderer::EvaluateDict(const Expr& expr) {
  std::vector<std::pair<std::string, Value>> entries;
  for (size_t i = 0; i < expr.args.size(); i += 2) {
    ASSIGN_OR_RETURN(const Value key, Evaluate(*expr.args[i]));
    ASSIGN_OR_RETURN(Value value, Evaluate(*expr.args[i + 1]));
    if (!key.is_text()) return absl::InvalidArgumentError("the key of a dict is no text");
    RETURN_IF_ERROR(CheckStorable(value, limits_.nesting));
    bool replaced = false;
    for (auto& [known, old] : entries) {
      if (known != key.text()) continue;
      old = value;
      replaced = true;
    }
    if (!replaced) entries.emplace_back(key.text(), std::move(value));
  }
  return Value::DictOf(std::move(entries));
}

absl::StatusOr<Value> Renderer::EvaluateSlice(const Expr& expr) {
  ASSIGN_OR_RETURN(const Value subject, Evaluate(*expr.args[0]));
  SliceBounds bounds;
  Value* const places[] = {&bounds.start, &bounds.stop, &bounds.step};
  for (size_t i = 0; i < 3; ++i) {
    if (expr.args[i + 1] == nullptr) continue;
    ASSIGN_OR_RETURN(*places[i], Evaluate(*expr.args[i + 1]));
  }
  return SliceOf(subject, bounds, budget_);
}

absl::StatusOr<Value> Renderer::EvaluateArithmetic(const Expr& expr) {
  // `**` is grouped from the left like the others: that is what Jinja's parser does.
  ASSIGN_OR_RETURN(Value result, Evaluate(*expr.args[0]));
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    ASSIGN_OR_RETURN(const Value operand, Evaluate(*expr.args[i + 1]));
    ASSIGN_OR_RETURN(result, Arithmetic(expr.ops[i], result, operand, budget_));
  }
  return result;
}

absl::StatusOr<Value> Renderer::EvaluateCompare(const Expr& expr) {
  ASSIGN_OR_RETURN(Value left, Evaluate(*expr.args[0]));
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    ASSIGN_OR_RETURN(Value right, Evaluate(*expr.args[i + 1]));
    if (right.is_text()) RETURN_IF_ERROR(budget_.SpendText(right.text().size()));
    if (right.is_list()) RETURN_IF_ERROR(budget_.Spend(right.items().size()));
    ASSIGN_OR_RETURN(const bool holds, Compare(expr.ops[i], left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

absl::StatusOr<Value> Renderer::EvaluateLogic(const Expr& expr) {
  ASSIGN_OR_RETURN(Value value, Evaluate(*expr.args[0]));
  switch (expr.kind) {
    case ExprKind::kNot:
      return Value(!value.truth());
    case ExprKind::kNegative:
      return Negative(value);
    case ExprKind::kPositive:
      return Arithmetic("+", Value(int64_t{0}), value, budget_);
    default:
      break;
  }
  const bool stop_at = expr.kind == ExprKind::kOr;
  for (size_t i = 1; i < expr.args.size() && value.truth() != stop_at; ++i) {
    ASSIGN_OR_RETURN(value, Evaluate(*expr.args[i]));
  }
  return value;
}

absl::StatusOr<Value> Renderer::EvaluateCondition(const Expr& expr) {
  ASSIGN_OR_RETURN(const Value condition, Evaluate(*expr.args[1]));
  if (condition.truth()) return Evaluate(*expr.args[0]);
  if (expr.args[2] != nullptr) return Evaluate(*expr.args[2]);
  return Value::Undefined("the inline if-expression evaluated to false and has no else");
}

// Of a filter or test with its subject, or of a call without the callee.
absl::StatusOr<CallArguments> Renderer::EvaluateArguments(const Expr& expr) {
  CallArguments arguments;
  for (size_t i = expr.kind == ExprKind::kCall ? 1 : 0; i < expr.args.size(); ++i) {
    if (expr.args[i] == nullptr) {
      arguments.values.push_back(*filter_subject_);
      continue;
    }
    ASSIGN_OR_RETURN(Value value, Evaluate(*expr.args[i]));
    arguments.values.push_back(std::move(value));
  }
  for (const auto& [name, arg] : expr.named) {
    ASSIGN_OR_RETURN(Value value, Evaluate(*arg));
    arguments.named.emplace_back(name, std::move(value));
  }
  return arguments;
}

absl::StatusOr<Value> Renderer::EvaluateCall(const Expr& expr) {
  ASSIGN_OR_RETURN(const Value callee, Evaluate(*expr.args[0]));
  ASSIGN_OR_RETURN(CallArguments arguments, EvaluateArguments(expr));
  if (const auto* method = callee.get_if<Value::Method>()) {
    return CallMethod(**method, std::move(arguments), budget_);
  }
  if (const auto* function = callee.get_if<FunctionValue>()) {
    return CallFunction(*function, std::move(arguments), budget_);
  }
  if (const auto* macro = callee.get_if<const MacroSyntax*>()) {
    return CallMacro(**macro, std::move(arguments));
  }
  if (callee.is_undefined()) return absl::InvalidArgumentError(callee.undefined_text());
  return absl::InvalidArgumentError(absl::StrCat("a ", callee.type_name(), " is not callable"));
}

absl::StatusOr<Value> Renderer::CallMacro(const MacroSyntax& macro, CallArguments arguments) {
  if (arguments.values.size() > macro.parameters.size()) {
    return absl::InvalidArgumentError(absl::StrCat("macro '", macro.name, "' takes not more than ",
                                                   macro.parameters.size(), " argument(s)"));
  }
  const size_t outer_floor = std::exchange(floor_, frames_.size());
  const FrameScope frame(*this);
  absl::StatusOr<Value> result = [&]() -> absl::StatusOr<Value> {
    for (size_t i = 0; i < arguments.values.size(); ++i) {
      SetName(macro.parameters[i].first, std::move(arguments.values[i]));
    }
    for (auto& [name, value] : arguments.named) {
      size_t place = 0;
      while (place < macro.parameters.size() && macro.parameters[place].first != name) ++place;
      if (place == macro.parameters.size() || place < arguments.values.size()) {
        return absl::InvalidArgumentError(
            absl::StrCat("macro '", macro.name, "' has no free parameter '", name, "'"));
      }
      SetName(name, std::move(value));
    }
    for (const auto& [name, default_value] : macro.parameters) {
      if (FindEntry(frames_.back(), name) != nullptr) continue;
      Value value = Value::Undefined(absl::StrCat("parameter '", name, "' was not provided"));
      if (default_value != nullptr) {
        ASSIGN_OR_RETURN(value, Evaluate(*default_value));
      }
      SetName(name, std::move(value));
    }
    return Capture(macro.body);
  }();
  floor_ = outer_floor;
  return result;
}

}  // namespace baton
