// The ranges of SamplingParams, for every role that receives them. One place, because a value that
// the scheduler lets in and a stage refuses would fail every sequence of the group.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

#include "protos/baton/v1/types.pb.h"

namespace baton {

inline constexpr float kMaxTemperature = 2.0f;
// Smaller positive values are refused: they would vanish where they are multiplied.
inline constexpr float kLeastTopP = 1e-30f;
inline constexpr float kLeastRepetitionPenalty = 1e-30f;
inline constexpr float kMaxRepetitionPenalty = 1e30f;
inline constexpr float kMaxPenalty = 2.0f;  // presence and frequency, either sign
inline constexpr float kMaxLogitBias = 100.0f;
inline constexpr uint32_t kMaxTopLogprobs = 20;
inline constexpr int kMaxLogitBiases = 1024;
inline constexpr int kMaxAllowedTokens = 1 << 16;

// InvalidArgument naming the field, its value and the range unless every number of `params` is in
// its range (NaN never is) and every list is short enough. Token ids are left to those who know
// the vocabulary. Any thread.
absl::Status CheckSamplingRanges(const v1::SamplingParams& params);

}  // namespace baton
