#include "services/gateway/admission/api_keys.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace baton::gateway {
namespace {

// Every comparison visits the same number of bytes.
bool EqualInConstantTime(absl::string_view left, absl::string_view right) {
  volatile unsigned difference = static_cast<unsigned>(left.size() ^ right.size());
  for (size_t i = 0; i < ApiKeys::kMaxKeyBytes; ++i) {
    const auto a = static_cast<unsigned char>(i < left.size() ? left[i] : 0);
    const auto b = static_cast<unsigned char>(i < right.size() ? right[i] : 0);
    difference = difference | (a ^ b);
  }
  return difference == 0;
}

}  // namespace

absl::Status ApiKeys::Check(absl::string_view authorization) const {
  if (keys_.empty()) return absl::OkStatus();
  constexpr absl::string_view kScheme = "bearer ";
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) {
    return absl::UnauthenticatedError("an API key is required: Authorization: Bearer <key>");
  }
  const absl::string_view offered =
      absl::StripAsciiWhitespace(authorization.substr(kScheme.size()));
  bool found = false;
  for (const std::string& key : keys_) found = EqualInConstantTime(key, offered) || found;
  return found ? absl::OkStatus() : absl::UnauthenticatedError("incorrect API key");
}

}  // namespace baton::gateway
