// The seam between a stage and what carries sampled tokens from the last stage to the first, where
// there is more than one. What a step sampled travels as one list: a token for each row that draws,
// in the order of the command, which both ends know. Steps without such rows send nothing.
//
// Called by the thread of rank 0's device, one call at a time, in the order of step_id. Waits end
// early with Cancelled once the owner has asked for it, as those for hidden states do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace baton::stage {

// In the place of the token of a sequence that failed.
inline constexpr uint32_t kNoToken = UINT32_MAX;

// Names what one step sampled.
struct TokenKey {
  uint64_t epoch = 0;
  uint64_t step_id = 0;
};

// Where the first stage takes tokens from.
class TokenSource {
 public:
  virtual ~TokenSource() = default;

  // Waits for a step's `num_tokens`. Errors: DeadlineExceeded, Cancelled, DataLoss (wrong length or
  // checksum), Unavailable (the last stage is gone).
  virtual absl::StatusOr<std::vector<uint32_t>> Receive(const TokenKey& key, size_t num_tokens,
                                                        absl::Time deadline) = 0;
};

// Where the last stage puts them.
class TokenSink {
 public:
  virtual ~TokenSink() = default;

  // Hands them to the transport; waits for a credit of the first stage, not for the wire. Errors:
  // DeadlineExceeded, Cancelled, Unavailable.
  virtual absl::Status Send(const TokenKey& key, std::span<const uint32_t> tokens,
                            absl::Time deadline) = 0;
};

}  // namespace baton::stage
