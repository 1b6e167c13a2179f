// The file of --api-key-file: keys by their SHA-256, with what each may ask for.
//
//   # One key a line: its name, the SHA-256 of the key, what it may.
//   batch 81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9 weight=3
//   bob   2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90
//
// `printf %s KEY | sha256sum` gives a key's line. What it may, each at most once: weight,
// requests-per-minute, tokens-per-minute, max-num-requests (0: no bound), best-priority.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/digest/sha256.h"

namespace baton::gateway {

// What one key may ask for.
struct KeyLimits {
  uint32_t requests_per_minute = 0;  // 0: no bound; likewise the next two
  uint32_t tokens_per_minute = 0;    // of prompts and answers
  uint32_t num_requests = 0;         // sequences at a time
  // The lowest number of a priority, which goes before all keys with a higher one.
  int32_t best_priority = 0;
};

struct ApiKey {
  std::string name;  // for logs, metrics and the scheduler
  Sha256Digest digest{};
  uint32_t weight = 1;
  KeyLimits limits;
};

inline constexpr uint32_t kMaxKeyWeight = 1000;  // as fairness_weight in scheduling.proto

// `defaults`: limits of keys whose line does not say. `others`: keys from elsewhere; no line may
// have a name or a key of theirs. Errors: InvalidArgument naming the line.
absl::StatusOr<std::vector<ApiKey>> ParseApiKeyFile(absl::string_view text,
                                                    const KeyLimits& defaults,
                                                    const std::vector<ApiKey>& others = {});

}  // namespace baton::gateway
