// An answer's text and its tool calls, kept in the order in which the model wrote them.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "services/gateway/text/tool_call_parser.h"

namespace baton::gateway {

// Appends what came later, `content` with the pieces of `calls` at their places in it, to what is
// there. Pieces of one call with no text between them become one. However an answer is cut, its
// parts add up to the same.
void AppendInOrder(absl::string_view content, std::vector<ToolCallPiece> calls,
                   std::string* all_content, std::vector<ToolCallPiece>* all_calls);

// Calls one of the two for each part, first to last; for text only if there is any.
void ForEachInOrder(absl::string_view content, absl::Span<const ToolCallPiece> calls,
                    absl::FunctionRef<void(absl::string_view)> on_content,
                    absl::FunctionRef<void(const ToolCallPiece&)> on_call);

}  // namespace baton::gateway
