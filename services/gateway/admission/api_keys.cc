#include "services/gateway/admission/api_keys.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "common/digest/sha256.h"

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

ApiKeys::ApiKeys(std::vector<std::string> keys, std::vector<uint32_t> weights, bool share_cache)
    : keys_(std::move(keys)), weights_(std::move(weights)) {
  weights_.resize(keys_.size(), 1);
  for (const std::string& key : keys_) {
    cache_owners_.emplace_back(
        share_cache ? "" : AsBytes(Sha256(absl::StrCat("owner of cached prompts: ", key))));
  }
}

absl::StatusOr<ApiCaller> ApiKeys::Identify(absl::string_view authorization) const {
  if (keys_.empty()) return ApiCaller();
  constexpr absl::string_view kScheme = "bearer ";
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) {
    return absl::UnauthenticatedError("an API key is required: Authorization: Bearer <key>");
  }
  const absl::string_view offered =
      absl::StripAsciiWhitespace(authorization.substr(kScheme.size()));
  size_t found = keys_.size();
  for (size_t i = 0; i < keys_.size(); ++i) {
    if (EqualInConstantTime(keys_[i], offered)) found = i;
  }
  if (found == keys_.size()) return absl::UnauthenticatedError("incorrect API key");
  return ApiCaller{absl::StrCat("key-", found + 1), weights_[found], cache_owners_[found]};
}

}  // namespace baton::gateway
