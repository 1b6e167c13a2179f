// Server-sent events, the subset the OpenAI API uses: data lines only.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace baton::gateway {

inline constexpr absl::string_view kSseContentType = "text/event-stream; charset=utf-8";
inline constexpr absl::string_view kSseDone = "data: [DONE]\n\n";

// Appends "data: `json`\n\n". `json` must hold no line break (JSON without indentation has none).
inline void AppendSseEvent(absl::string_view json, std::string* out) {
  out->append("data: ").append(json.data(), json.size()).append("\n\n");
}

}  // namespace baton::gateway
