// Bearer keys of the HTTP API.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace baton::gateway {

// Immutable; any thread.
class ApiKeys {
 public:
  static constexpr size_t kMaxKeyBytes = 256;

  // No keys: everybody may call. Each key has 1 to kMaxKeyBytes bytes.
  explicit ApiKeys(std::vector<std::string> keys) : keys_(std::move(keys)) {}

  // Checks an Authorization header ("Bearer <key>"). The time depends neither on where an offered
  // key differs from a real one nor on which it matches. Errors: Unauthenticated.
  absl::Status Check(absl::string_view authorization) const;

 private:
  const std::vector<std::string> keys_;
};

}  // namespace baton::gateway
