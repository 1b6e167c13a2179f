// Refusals that say which field is wrong, by what name programs know the reason, and when to retry.
// They travel inside absl::Status as payloads, so every layer passes them on unchanged.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace baton::gateway {

// Reason of a body in another format than JSON.
inline constexpr absl::string_view kUnsupportedContentType = "unsupported_content_type";

// Reason of a refusal that comes from the caller's own limit, not from how the service fares.
inline constexpr absl::string_view kRateLimitExceeded = "rate_limit_exceeded";

// Reason of the end of a request that its own caller has ended by name.
inline constexpr absl::string_view kRequestAborted = "request_aborted";

// Reason of a refusal because the service has as much to do as it takes.
inline constexpr absl::string_view kServerIsOverloaded = "server_is_overloaded";

// InvalidArgument "`field` `problem`" that names its field.
absl::Status InvalidField(absl::string_view field, absl::string_view problem);

// The field that a refusal names; empty if none.
std::string RefusedField(const absl::Status& status);
absl::Status WithRefusedField(absl::Status status, absl::string_view field);

// Machine-readable reason, for example "context_length_exceeded"; empty if none.
std::string RefusalReason(const absl::Status& status);
absl::Status WithReason(absl::Status status, absl::string_view reason);

// When the same request may be tried again.
std::optional<absl::Duration> RetryAfter(const absl::Status& status);
// For WithRetryAfter: a time drawn from `least` to twice that, or to 2 s more if that is later. So
// those who are refused together come back apart, whole seconds (which some clients read) included.
absl::Duration SpreadRetry(absl::Duration least);
absl::Status WithRetryAfter(absl::Status status, absl::Duration delay);

}  // namespace baton::gateway
