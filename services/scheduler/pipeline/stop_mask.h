// The tokens that min_tokens keeps from being drawn.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"

#include "protos/baton/v1/types.pb.h"

namespace baton::scheduler {

// Sets min_tokens and masked_token_ids of `sampling`, whatever they were, to what `stop` asks for:
// the end-of-sequence tokens, ignored or not, and the stop tokens of the vocabulary. Errors:
// InvalidArgument if no token would be left to draw.
absl::Status FillStopMask(const v1::StopParams& stop, const std::vector<uint32_t>& eos_token_ids,
                          uint32_t vocab_size, v1::SamplingParams* sampling);

}  // namespace baton::scheduler
