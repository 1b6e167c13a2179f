#include "services/gateway/text/answer_order.h"

#include <cstddef>
#include <utility>

namespace baton::gateway {

void AppendInOrder(absl::string_view content, std::vector<ToolCallPiece> calls,
                   std::string* all_content, std::vector<ToolCallPiece>* all_calls) {
  const size_t before = all_content->size();
  all_content->append(content.data(), content.size());
  for (ToolCallPiece& piece : calls) {
    piece.content_offset += before;
    if (!piece.begins && !all_calls->empty() && all_calls->back().index == piece.index &&
        all_calls->back().content_offset == piece.content_offset) {
      all_calls->back().arguments.append(piece.arguments);
    } else {
      all_calls->push_back(std::move(piece));
    }
  }
}

void ForEachInOrder(absl::string_view content, absl::Span<const ToolCallPiece> calls,
                    absl::FunctionRef<void(absl::string_view)> on_content,
                    absl::FunctionRef<void(const ToolCallPiece&)> on_call) {
  size_t done = 0;
  for (const ToolCallPiece& piece : calls) {
    if (piece.content_offset > done) {
      on_content(content.substr(done, piece.content_offset - done));
      done = piece.content_offset;
    }
    on_call(piece);
  }
  if (done < content.size()) on_content(content.substr(done));
}

}  // namespace baton::gateway
