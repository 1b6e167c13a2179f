#include "services/gateway/admission/rate_limits.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

constexpr absl::Duration kMinute = absl::Minutes(1);

absl::Status AtRateLimit(absl::string_view what, uint32_t per_minute, absl::Duration wait) {
  return WithRetryAfter(
      WithReason(absl::ResourceExhaustedError(
                     absl::StrCat("this API key has used its ", per_minute, " ", what,
                                  " per minute; the next are free in ",
                                  absl::FormatDuration(absl::Ceil(wait, absl::Milliseconds(1))))),
                 kRateLimitExceeded),
      wait);
}

// Of requests that generate nothing; 0: no bound.
uint32_t TextRequestsPerMinute(const KeyLimits& limits) {
  return static_cast<uint32_t>(std::min<uint64_t>(
      UINT32_MAX, uint64_t{RateLimits::kTextRequestsPerRequest} * limits.requests_per_minute));
}

// Whether the key is to blame for none of it.
bool IsOurs(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsFailedPrecondition(status) ||
         (absl::IsResourceExhausted(status) && RefusalReason(status) != kRateLimitExceeded);
}

}  // namespace

void RateLimits::Bucket::Refill(uint32_t per_minute, absl::Time now) {
  if (at == absl::InfinitePast()) {
    level = per_minute;
  } else {
    now = std::max(now, at);  // no time is credited twice
    level =
        std::min<double>(per_minute, level + absl::FDivDuration(now - at, kMinute) * per_minute);
  }
  at = now;
}

absl::Duration RateLimits::Bucket::TimeTo(double wanted, uint32_t per_minute) const {
  return level >= wanted ? absl::ZeroDuration() : (wanted - level) / per_minute * kMinute;
}

absl::Status RateLimits::Bucket::TakeOne(absl::string_view what, uint32_t per_minute,
                                         absl::Time now) {
  Refill(per_minute, now);
  if (level < 1) return AtRateLimit(what, per_minute, TimeTo(1, per_minute));
  level -= 1;
  return absl::OkStatus();
}

void RateLimits::Bucket::Give(uint64_t amount, uint32_t per_minute, absl::Time now) {
  Refill(per_minute, now);
  level = std::min<double>(per_minute, level + static_cast<double>(amount));
}

bool RateLimits::Bucket::IsFull(uint32_t per_minute, absl::Time now) const {
  if (per_minute == 0 || at == absl::InfinitePast()) return true;
  Bucket later = *this;
  later.Refill(per_minute, now);
  return later.level >= per_minute;
}

RateLimits::Usage& RateLimits::UsageOf(const ApiCaller& caller, absl::Time now) {
  if (now >= next_sweep_) {
    next_sweep_ = now + kMinute;
    absl::erase_if(usage_, [now](const auto& entry) {
      const Usage& usage = entry.second;
      return usage.requests.IsFull(usage.limits.requests_per_minute, now) &&
             usage.text_requests.IsFull(TextRequestsPerMinute(usage.limits), now) &&
             usage.tokens.IsFull(usage.limits.tokens_per_minute, now);
    });
  }
  Usage& usage = usage_[caller.name];
  usage.limits = caller.limits;
  return usage;
}

absl::Status RateLimits::TakeRequest(const ApiCaller& caller, absl::Time now) {
  const uint32_t limit = caller.limits.tokens_per_minute;
  if (limit > 0) {
    Bucket& tokens = UsageOf(caller, now).tokens;
    tokens.Refill(limit, now);
    if (tokens.level < 1) return AtRateLimit("tokens", limit, tokens.TimeTo(1, limit));
  }
  const uint32_t num_requests = caller.limits.requests_per_minute;
  if (num_requests == 0) return absl::OkStatus();
  return UsageOf(caller, now).requests.TakeOne("requests", num_requests, now);
}

absl::Status RateLimits::TakeTextRequest(const ApiCaller& caller, absl::Time now) {
  const uint32_t limit = TextRequestsPerMinute(caller.limits);
  if (limit == 0) return absl::OkStatus();
  return UsageOf(caller, now).text_requests.TakeOne("requests that generate nothing", limit, now);
}

absl::Status RateLimits::TakePrompt(const ApiCaller& caller, uint64_t num_tokens, absl::Time now) {
  const uint32_t limit = caller.limits.tokens_per_minute;
  if (limit == 0) return absl::OkStatus();
  Bucket& tokens = UsageOf(caller, now).tokens;
  tokens.Refill(limit, now);
  const auto wanted = static_cast<double>(std::min<uint64_t>(num_tokens, limit));
  if (tokens.level < wanted) return AtRateLimit("tokens", limit, tokens.TimeTo(wanted, limit));
  tokens.level -= static_cast<double>(num_tokens);
  return absl::OkStatus();
}

void RateLimits::GiveBack(const ApiCaller& caller, uint64_t num_tokens, const absl::Status& status,
                          absl::Time now) {
  if (!IsOurs(status)) return;
  const KeyLimits& limits = caller.limits;
  if (limits.requests_per_minute > 0) {
    UsageOf(caller, now).requests.Give(1, limits.requests_per_minute, now);
  }
  if (limits.tokens_per_minute > 0) {
    UsageOf(caller, now).tokens.Give(num_tokens, limits.tokens_per_minute, now);
  }
}

void RateLimits::GiveBackTextRequest(const ApiCaller& caller, const absl::Status& status,
                                     absl::Time now) {
  const uint32_t limit = TextRequestsPerMinute(caller.limits);
  if (limit == 0 || !IsOurs(status)) return;
  UsageOf(caller, now).text_requests.Give(1, limit, now);
}

void RateLimits::ChargeAnswer(const ApiCaller& caller, uint64_t num_tokens, absl::Time now) {
  const uint32_t limit = caller.limits.tokens_per_minute;
  if (limit == 0) return;
  Bucket& tokens = UsageOf(caller, now).tokens;
  tokens.Refill(limit, now);
  tokens.level -= static_cast<double>(num_tokens);
}

std::vector<std::pair<std::string, std::string>> RateLimits::Headers(const ApiCaller& caller,
                                                                     absl::Time now,
                                                                     RequestKind kind) {
  std::vector<std::pair<std::string, std::string>> headers;
  const auto add = [&](const char* what, uint32_t limit, Bucket& bucket) {
    bucket.Refill(limit, now);
    const double left = std::max(0.0, std::floor(bucket.level));
    const absl::Duration reset = absl::Ceil(bucket.TimeTo(limit, limit), absl::Milliseconds(1));
    headers.emplace_back(absl::StrCat("x-ratelimit-limit-", what), absl::StrCat(limit));
    headers.emplace_back(absl::StrCat("x-ratelimit-remaining-", what),
                         absl::StrCat(static_cast<uint64_t>(left)));
    headers.emplace_back(absl::StrCat("x-ratelimit-reset-", what), absl::FormatDuration(reset));
  };
  const KeyLimits& limits = caller.limits;
  if (limits.requests_per_minute > 0) {
    Usage& usage = UsageOf(caller, now);
    if (kind == RequestKind::kText) {
      add("requests", TextRequestsPerMinute(limits), usage.text_requests);
    } else {
      add("requests", limits.requests_per_minute, usage.requests);
    }
  }
  if (limits.tokens_per_minute > 0) {
    add("tokens", limits.tokens_per_minute, UsageOf(caller, now).tokens);
  }
  return headers;
}

}  // namespace baton::gateway
