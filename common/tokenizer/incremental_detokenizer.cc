#include "common/tokenizer/incremental_detokenizer.h"

#include <utility>

#include "common/utf8/utf8.h"

namespace baton {

std::string IncrementalDetokenizer::Push(absl::Span<const uint32_t> ids) {
  std::string bytes = std::exchange(pending_, "");
  for (const uint32_t id : ids) {
    if (options_.skip_special_tokens && tokenizer_.IsSpecial(id)) continue;
    const absl::string_view token = tokenizer_.TokenBytes(id);
    bytes.append(token.data(), token.size());
  }
  std::string text;
  text.reserve(bytes.size());
  const size_t unfinished = AppendValidUtf8(bytes, &text);
  pending_ = bytes.substr(bytes.size() - unfinished);
  return text;
}

std::string IncrementalDetokenizer::Flush() {
  if (pending_.empty()) return "";
  pending_.clear();
  return std::string(kReplacementCharacter);
}

}  // namespace baton
