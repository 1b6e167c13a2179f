// SHA-256, for names that nobody must be able to forge: of models, tenants, cached blocks.
#pragma once

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace baton {

using Sha256Digest = std::array<uint8_t, 32>;

// FIPS 180-4. Any thread.
Sha256Digest Sha256(absl::string_view bytes);

// The bytes of `digest`, as text that may hold any byte.
inline absl::string_view AsBytes(const Sha256Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace baton
