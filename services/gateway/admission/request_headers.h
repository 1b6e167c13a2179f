// What a request's headers ask for beside its body.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace baton::gateway {

inline constexpr char kTimeoutHeader[] = "X-Request-Timeout";
inline constexpr char kPriorityHeader[] = "X-Vllm-Priority";

// Where the client's own trace stands (W3C trace context); empty: it has none.
struct TraceContext {
  std::string parent;  // "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
  std::string state;
};

// Both headers as they were sent; what is malformed is none.
TraceContext ReadTraceContext(absl::string_view parent, absl::string_view state);

// How long a request may take: decimal seconds ("30", "0.5"), at most `most`; `most` if `value` is
// empty. Errors: InvalidArgument naming the header.
absl::StatusOr<absl::Duration> ParseRequestTimeout(absl::string_view value, absl::Duration most);

// Priority of a request, lower first; nullopt if `value` is empty. Errors: as above.
absl::StatusOr<std::optional<int32_t>> ParsePriority(absl::string_view value);

}  // namespace baton::gateway
