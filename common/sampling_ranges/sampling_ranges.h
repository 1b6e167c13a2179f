// Whether SamplingParams keep to their limits, for every role that receives them.
#pragma once

#include "absl/status/status.h"

#include "protos/baton/v1/types.pb.h"

namespace baton {

// InvalidArgument naming the field, its value and the range unless every number of `params` is in
// its range (NaN never is) and every list is short enough. Token ids are left to those who know
// the vocabulary. Any thread.
absl::Status CheckSamplingRanges(const v1::SamplingParams& params);

}  // namespace baton
