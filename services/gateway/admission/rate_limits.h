// What each API key has used of its requests and tokens per minute.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "services/gateway/admission/api_keys.h"

namespace baton::gateway {

// Token buckets: a key that was idle for a minute may use a minute's worth at once. Prompts are
// paid when they are known, answers token by token as they come, so that a bucket may be in debt;
// nothing is admitted until that is paid. `now` is of SteadyNow(). One for HTTP and gRPC; on the
// loop's thread.
class RateLimits final {
 public:
  // Requests without generation that a key has for each one with: they take little of the service,
  // and clients send several before one that generates.
  static constexpr uint32_t kTextRequestsPerRequest = 10;

  enum class RequestKind {
    kGeneration,
    kText,  // generates nothing: /tokenize and its like
  };

  // Takes a request that generates: also refused while the key has no tokens left. Errors:
  // ResourceExhausted (reason "rate_limit_exceeded") with RetryAfter.
  absl::Status TakeRequest(const ApiCaller& caller, absl::Time now);
  // Takes a request that generates nothing, from a bucket of its own, whatever tokens the key has
  // left. Errors: as above.
  absl::Status TakeTextRequest(const ApiCaller& caller, absl::Time now);
  // Takes the tokens of a request's prompts; one of more than a minute's worth needs a full bucket.
  // Errors: as above.
  absl::Status TakePrompt(const ApiCaller& caller, uint64_t num_tokens, absl::Time now);
  // For a request that was taken, with `num_tokens` of its prompts, when it has ended with `status`
  // before anything was generated: gives both back if that was no fault of its key, which is so
  // with Unavailable, FailedPrecondition (the group cannot serve it) and ResourceExhausted by
  // another limit than the key's.
  void GiveBack(const ApiCaller& caller, uint64_t num_tokens, const absl::Status& status,
                absl::Time now);
  // The same for one that generates nothing.
  void GiveBackTextRequest(const ApiCaller& caller, const absl::Status& status, absl::Time now);
  // New tokens of an answer.
  void ChargeAnswer(const ApiCaller& caller, uint64_t num_tokens, absl::Time now);

  // x-ratelimit-limit-, -remaining- and -reset-requests and -tokens, as OpenAI's clients know them,
  // for what is limited. Requests are those of `kind`.
  std::vector<std::pair<std::string, std::string>> Headers(
      const ApiCaller& caller, absl::Time now, RequestKind kind = RequestKind::kGeneration);

  // Keys that are remembered: those that have not everything left, and those of the last minute.
  // Keys come and go with their file.
  size_t num_keys() const { return usage_.size(); }

 private:
  struct Bucket {
    double level = 0;
    absl::Time at = absl::InfinitePast();  // when the level was so; at first: it is full

    void Refill(uint32_t per_minute, absl::Time now);
    // Errors: as TakeRequest, about `what`.
    absl::Status TakeOne(absl::string_view what, uint32_t per_minute, absl::Time now);
    void Give(uint64_t amount, uint32_t per_minute, absl::Time now);
    // Until the level is `wanted`.
    absl::Duration TimeTo(double wanted, uint32_t per_minute) const;
    // Nothing is known of it that a new one would not say.
    bool IsFull(uint32_t per_minute, absl::Time now) const;
  };
  struct Usage {
    Bucket requests;
    Bucket text_requests;
    Bucket tokens;
    KeyLimits limits;  // as last seen
  };

  // Of `caller`, until the next call. Forgets keys that have everything left, once a minute.
  Usage& UsageOf(const ApiCaller& caller, absl::Time now);

  absl::flat_hash_map<std::string, Usage> usage_;  // by name; callers with limits only
  absl::Time next_sweep_ = absl::InfinitePast();
};

}  // namespace baton::gateway
