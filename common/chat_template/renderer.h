// One rendering of a template.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/chat_template/budget.h"
#include "common/chat_template/call_arguments.h"
#include "common/chat_template/chat_template.h"
#include "common/chat_template/syntax.h"
#include "common/chat_template/value.h"

namespace baton {

// Walks the tree and writes the output. Used once, by one thread. The tree and the context must
// outlive it.
class Renderer {
 public:
  // `context` is a dict.
  Renderer(const ChatTemplateLimits& limits, const Value& context);

  absl::StatusOr<std::string> Render(const Block& block);

 private:
  enum class Flow { kNext, kBreak, kContinue };

  // Names set in one loop iteration, macro call or set block; the outermost frame is the
  // template's own.
  using Frame = std::vector<std::pair<std::string, Value>>;
  class FrameScope;
  class DepthScope;

  // Statements (renderer.cc).
  absl::StatusOr<Flow> RunBlock(const Block& block);
  absl::StatusOr<Flow> Run(const Statement& statement);
  absl::StatusOr<Flow> RunIf(const Statement& statement);
  absl::StatusOr<Flow> RunFor(const Statement& statement);
  absl::StatusOr<Value::List> FilterItems(const Statement& statement, Value::List list);
  absl::Status RunSet(const Statement& statement);
  absl::Status Assign(const Target& target, const Value& value);
  absl::Status AssignAttribute(const Target& target, const Value& value);
  void SetName(const std::string& name, Value value);
  Value FindName(const std::string& name) const;
  absl::Status Write(absl::string_view text);
  // What `block` writes, as a value.
  absl::StatusOr<Value> Capture(const Block& block);

  // Expressions (renderer_expressions.cc).
  absl::StatusOr<Value> Evaluate(const Expr& expr);
  absl::StatusOr<Value> EvaluateKind(const Expr& expr);
  absl::StatusOr<Value> EvaluateContainer(const Expr& expr);
  absl::StatusOr<Value> EvaluateDict(const Expr& expr);
  absl::StatusOr<Value> EvaluateSlice(const Expr& expr);
  absl::StatusOr<Value> EvaluateArithmetic(const Expr& expr);
  absl::StatusOr<Value> EvaluateCompare(const Expr& expr);
  absl::StatusOr<Value> EvaluateLogic(const Expr& expr);
  absl::StatusOr<Value> EvaluateCondition(const Expr& expr);
  absl::StatusOr<CallArguments> EvaluateArguments(const Expr& expr);
  absl::StatusOr<Value> EvaluateCall(const Expr& expr);
  absl::StatusOr<Value> CallMacro(const MacroSyntax& macro, CallArguments arguments);

  const ChatTemplateLimits limits_;
  const Value& context_;
  Budget budget_;
  std::vector<Frame> frames_;
  size_t floor_ = 1;  // frames below it are hidden, save the outermost: those of a macro's caller
  size_t depth_ = 0;
  size_t loop_depth_ = 0;
  std::string out_;
  const Value* filter_subject_ = nullptr;  // what a set block hands to its filters
};

}  // namespace baton
