#include "services/gateway/admission/refusal.h"

#include <algorithm>
#include <cstdint>

#include "absl/random/random.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace baton::gateway {
namespace {

constexpr absl::string_view kFieldUrl = "baton/field";
constexpr absl::string_view kReasonUrl = "baton/reason";
constexpr absl::string_view kRetryAfterUrl = "baton/retry-after-ms";
constexpr absl::Duration kLeastSpread = absl::Seconds(2);

std::string Payload(const absl::Status& status, absl::string_view url) {
  const auto payload = status.GetPayload(url);
  return payload ? std::string(*payload) : std::string();
}

absl::Status WithPayload(absl::Status status, absl::string_view url, absl::string_view value) {
  status.SetPayload(url, absl::Cord(value));
  return status;
}

}  // namespace

absl::Status InvalidField(absl::string_view field, absl::string_view problem) {
  return WithRefusedField(absl::InvalidArgumentError(absl::StrCat(field, " ", problem)), field);
}

std::string RefusedField(const absl::Status& status) { return Payload(status, kFieldUrl); }
absl::Status WithRefusedField(absl::Status status, absl::string_view field) {
  return WithPayload(std::move(status), kFieldUrl, field);
}

std::string RefusalReason(const absl::Status& status) { return Payload(status, kReasonUrl); }
absl::Status WithReason(absl::Status status, absl::string_view reason) {
  return WithPayload(std::move(status), kReasonUrl, reason);
}

std::optional<absl::Duration> RetryAfter(const absl::Status& status) {
  int64_t milliseconds = 0;
  if (!absl::SimpleAtoi(Payload(status, kRetryAfterUrl), &milliseconds)) return std::nullopt;
  return absl::Milliseconds(milliseconds);
}

absl::Duration SpreadRetry(absl::Duration least) {
  absl::InsecureBitGen random;
  return least + std::max(least, kLeastSpread) * absl::Uniform(random, 0.0, 1.0);
}

absl::Status WithRetryAfter(absl::Status status, absl::Duration delay) {
  return WithPayload(std::move(status), kRetryAfterUrl,
                     absl::StrCat(absl::ToInt64Milliseconds(delay)));
}

}  // namespace baton::gateway
