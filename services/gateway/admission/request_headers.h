// What a request's headers ask for beside its body.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace baton::gateway {

inline constexpr char kTimeoutHeader[] = "X-Request-Timeout";
inline constexpr char kPriorityHeader[] = "X-Vllm-Priority";

// How long a request may take: decimal seconds ("30", "0.5"), at most `most`; `most` if `value` is
// empty. Errors: InvalidArgument naming the header.
absl::StatusOr<absl::Duration> ParseRequestTimeout(absl::string_view value, absl::Duration most);

// Priority of a request, lower first; nullopt if `value` is empty. Errors: as above.
absl::StatusOr<std::optional<int32_t>> ParsePriority(absl::string_view value);

}  // namespace baton::gateway
