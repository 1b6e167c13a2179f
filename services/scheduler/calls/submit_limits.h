// What a SubmitRequest may say, before the step loop looks at its tokens.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

#include "protos/baton/v1/scheduling.pb.h"

namespace baton::scheduler {

// InvalidArgument naming the field and its value unless every field is within the range that the
// protos state. The caller's protocol version is checked too (FailedPrecondition). Prompt and
// resumed tokens are left to the core.
absl::Status CheckSubmitRequest(const v1::SubmitRequest& request, uint32_t vocab_size);

}  // namespace baton::scheduler
