// Sizes in bytes as people write them.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton {

// Bytes of "1073741824", "512MiB", "96GiB", "80GB" or "1.5T", in any case: kB, MB, GB, TB (and k,
// M, G, T) are powers of 1000; KiB, MiB, GiB, TiB (and Ki, Mi, Gi, Ti, as in Kubernetes) are powers
// of 1024. At most 10^18, fractions of a byte cut. InvalidArgument that quotes the text for
// anything else.
absl::StatusOr<uint64_t> ParseByteSize(absl::string_view text);

}  // namespace baton
