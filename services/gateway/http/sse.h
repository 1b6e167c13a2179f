// Server-sent events: data lines, names, comments.
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

// The same under the name `event`.
inline void AppendNamedSseEvent(absl::string_view event, absl::string_view json, std::string* out) {
  out->append("event: ").append(event.data(), event.size()).append("\n");
  AppendSseEvent(json, out);
}

// Clients skip it; who stands between them and the server sees that the connection lives.
inline constexpr absl::string_view kSseKeepAlive = ": keep-alive\n\n";

}  // namespace baton::gateway
