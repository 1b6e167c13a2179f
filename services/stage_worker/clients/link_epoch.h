// What a stage's links to its neighbours are told of an epoch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace baton::stage {

struct LinkEpoch {
  uint64_t local_epoch = 0;  // the executor's: never repeats in this process
  uint64_t frame_epoch = 0;  // what frames carry, see FrameEpoch
  // UCX addresses of the next stage, by rank; empty on the last stage.
  std::vector<std::string> next_addresses;
  // UCX address of the first stage's rank 0, where the last stage sends tokens; else empty.
  std::string first_address;
};

// The number that frames between stages carry: the scheduler's nonce in the upper 32 bits, its
// epoch in the lower. Epochs begin at 1 with every scheduler process; the nonce keeps those of one
// process apart from another's, so that a frame which outlives its scheduler is dropped. Never 0.
// Errors: InvalidArgument (an epoch that is no number from 1 to 2^32 - 1).
inline absl::StatusOr<uint64_t> FrameEpoch(uint32_t scheduler_nonce, uint64_t epoch) {
  if (epoch == 0 || epoch > UINT32_MAX) {
    return absl::InvalidArgumentError(absl::StrCat("epoch ", epoch, " is not in [1, 2^32)"));
  }
  return uint64_t{scheduler_nonce} << 32 | epoch;
}

}  // namespace baton::stage
