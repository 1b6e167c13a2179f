// Bearer keys of the APIs, and whose requests they name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton::gateway {

// On whose account a request runs.
struct ApiCaller {
  std::string name;     // "key-1" for the first key, never the key itself; empty: nobody's
  uint32_t weight = 1;  // share of the service against that of others
  // Cached prompts are found only by requests with the same owner, so that nobody can tell from the
  // time to the first token what others asked. Made of the key alone; empty: shared by all.
  std::string cache_owner;
};

// Immutable; any thread.
class ApiKeys {
 public:
  static constexpr size_t kMaxKeyBytes = 256;

  // No keys: everybody may call. Each key has 1 to kMaxKeyBytes bytes. `weights`, each at least 1,
  // belong to the keys in order; those that it does not reach have 1. With `share_cache`, all keys
  // are one owner of cached prompts.
  explicit ApiKeys(std::vector<std::string> keys, std::vector<uint32_t> weights = {},
                   bool share_cache = false);

  // Checks an Authorization header ("Bearer <key>"). The time depends neither on where an offered
  // key differs from a real one nor on which it matches. Errors: Unauthenticated.
  absl::StatusOr<ApiCaller> Identify(absl::string_view authorization) const;
  absl::Status Check(absl::string_view authorization) const {
    return Identify(authorization).status();
  }

 private:
  const std::vector<std::string> keys_;
  std::vector<uint32_t> weights_;          // one for each key
  std::vector<std::string> cache_owners_;  // likewise
};

}  // namespace baton::gateway
