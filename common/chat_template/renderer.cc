#include "common/chat_template/renderer.h"

#include <algorithm>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/functions.h"
#include "common/chat_template/operators.h"
#include "common/chat_template/renderer_scopes.h"
#include "common/chat_template/value_text.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

constexpr absl::string_view kLinePrefix = "line ";

// Puts the line before the message, once.
absl::Status AtLine(const absl::Status& status, int line) {
  if (status.ok() || absl::StartsWith(status.message(), kLinePrefix)) return status;
  return Annotate(status, absl::StrCat(kLinePrefix, line));
}

}  // namespace

Renderer::Renderer(const ChatTemplateLimits& limits, const Value& context)
    : limits_(limits), context_(context), budget_(limits.steps, limits.output_bytes), frames_(1) {}

absl::StatusOr<std::string> Renderer::Render(const Block& block) {
  const auto flow = RunBlock(block);
  if (!flow.ok()) return Annotate(flow.status(), "chat template");
  return std::move(out_);
}

absl::Status Renderer::Write(absl::string_view text) {
  RETURN_IF_ERROR(budget_.Spend(text.size() / 64));
  if (out_.size() + text.size() > limits_.output_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("more than ", limits_.output_bytes, " bytes of output"));
  }
  absl::StrAppend(&out_, text);
  return absl::OkStatus();
}

absl::StatusOr<Renderer::Flow> Renderer::RunBlock(const Block& block) {
  for (const auto& statement : block) {
    const auto flow = Run(*statement);
    if (!flow.ok()) return AtLine(flow.status(), statement->line);
    if (*flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

absl::StatusOr<Renderer::Flow> Renderer::Run(const Statement& statement) {
  const DepthScope depth(*this);
  RETURN_IF_ERROR(depth.Check());
  switch (statement.kind) {
    case StatementKind::kText:
      RETURN_IF_ERROR(Write(statement.text));
      break;
    case StatementKind::kOutput: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.expr));
      if (value.is_text()) {
        RETURN_IF_ERROR(Write(value.text()));
        break;
      }
      ASSIGN_OR_RETURN(const std::string text, TextOf(value));
      RETURN_IF_ERROR(Write(text));
      break;
    }
    case StatementKind::kIf:
      return RunIf(statement);
    case StatementKind::kFor:
      return RunFor(statement);
    case StatementKind::kSet:
    case StatementKind::kSetBlock:
      RETURN_IF_ERROR(RunSet(statement));
      break;
    case StatementKind::kMacro:
      SetName(statement.macro->name, Value(statement.macro.get()));
      break;
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
    case StatementKind::kPlain:
      return RunBlock(statement.body);
  }
  return Flow::kNext;
}

absl::StatusOr<Renderer::Flow> Renderer::RunIf(const Statement& statement) {
  for (const auto& [condition, body] : statement.branches) {
    ASSIGN_OR_RETURN(const Value value, Evaluate(*condition));
    if (value.truth()) return RunBlock(body);
  }
  return RunBlock(statement.body);
}

// The items for which the condition of `for x in items if condition` holds.
absl::StatusOr<Value::List> Renderer::FilterItems(const Statement& statement, Value::List list) {
  if (statement.condition == nullptr) return list;
  std::vector<Value> kept;
  for (const Value& item : list->items) {
    const FrameScope frame(*this);
    RETURN_IF_ERROR(Assign(statement.target, item));
    ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.condition));
    if (value.truth()) kept.push_back(item);
  }
  return Value::ListOf(std::move(kept)).list();
}

absl::StatusOr<Renderer::Flow> Renderer::RunFor(const Statement& statement) {
  ASSIGN_OR_RETURN(const Value iterated, Evaluate(*statement.expr));
  ASSIGN_OR_RETURN(Value::List list, ItemsOf(iterated, budget_));
  ASSIGN_OR_RETURN(list, FilterItems(statement, std::move(list)));
  if (list->items.empty()) {
    const FrameScope frame(*this);
    return RunBlock(statement.otherwise);
  }
  ++loop_depth_;
  for (size_t i = 0; i < list->items.size(); ++i) {
    const FrameScope frame(*this);
    SetName("loop", Value(std::make_shared<const LoopValue>(LoopValue{list, i, loop_depth_ - 1})));
    RETURN_IF_ERROR(Assign(statement.target, list->items[i]));
    RETURN_IF_ERROR(budget_.Spend(1));
    ASSIGN_OR_RETURN(const Flow flow, RunBlock(statement.body));
    if (flow == Flow::kBreak) break;
  }
  --loop_depth_;
  return Flow::kNext;
}

absl::StatusOr<Value> Renderer::Capture(const Block& block) {
  std::string outer = std::exchange(out_, "");
  const auto flow = RunBlock(block);
  Value captured(std::exchange(out_, std::move(outer)));
  RETURN_IF_ERROR(flow.status());
  return captured;
}

absl::Status Renderer::RunSet(const Statement& statement) {
  if (statement.kind == StatementKind::kSet) {
    ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.expr));
    return Assign(statement.target, value);
  }
  Value captured;
  {
    const FrameScope frame(*this);
    ASSIGN_OR_RETURN(captured, Capture(statement.body));
  }
  if (statement.expr != nullptr) {
    const Value* const outer = std::exchange(filter_subject_, &captured);
    auto filtered = Evaluate(*statement.expr);
    filter_subject_ = outer;
    RETURN_IF_ERROR(filtered.status());
    captured = *std::move(filtered);
  }
  return Assign(statement.target, captured);
}

absl::Status Renderer::Assign(const Target& target, const Value& value) {
  if (!target.attribute.empty()) return AssignAttribute(target, value);
  if (!target.unpacks) {
    SetName(target.names[0], value);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const Value::List list, ItemsOf(value, budget_));
  if (list->items.size() != target.names.size()) {
    return absl::InvalidArgumentError(absl::StrCat("cannot unpack ", list->items.size(),
                                                   " values into ", target.names.size(), " names"));
  }
  for (size_t i = 0; i < target.names.size(); ++i) SetName(target.names[i], list->items[i]);
  return absl::OkStatus();
}

absl::Status Renderer::AssignAttribute(const Target& target, const Value& value) {
  const Value subject = FindName(target.names[0]);
  const auto* const space = subject.get_if<Value::Namespace>();
  if (space == nullptr) {
    return absl::InvalidArgumentError("cannot assign attribute on non-namespace object");
  }
  RETURN_IF_ERROR(CheckStorable(value, limits_.nesting));
  auto& entries = (*space)->entries;
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const auto& entry) {
    return entry.first == target.attribute;
  });
  if (found == entries.end()) {
    entries.emplace_back(target.attribute, value);
  } else {
    found->second = value;
  }
  return absl::OkStatus();
}

void Renderer::SetName(const std::string& name, Value value) {
  for (auto& [known, old] : frames_.back()) {
    if (known != name) continue;
    old = std::move(value);
    return;
  }
  frames_.back().emplace_back(name, std::move(value));
}

Value Renderer::FindName(const std::string& name) const {
  for (size_t i = frames_.size(); i-- > floor_;) {
    if (const Value* const found = FindEntry(frames_[i], name)) return *found;
  }
  if (const Value* const found = FindEntry(frames_[0], name)) return *found;
  if (const Value* const found = FindEntry(context_.dict().entries, name)) return *found;
  const absl::string_view function = FunctionNamed(name);
  if (!function.empty()) return Value(FunctionValue{function});
  return Value::Undefined(absl::StrCat("'", name, "' is undefined"));
}

}  // namespace baton
