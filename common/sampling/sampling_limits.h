// The ranges of SamplingParams (types.proto), for every role. One place, because a value that the
// scheduler lets in and a stage refuses would fail every sequence of the group. Numbers alone:
// common/sampling_ranges holds messages against them.
#pragma once

#include <cstdint>

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
inline constexpr int kMaxMaskedTokens = 1 << 16;
inline constexpr int kMaxBannedSequences = 256;
inline constexpr int kMaxBannedTokens = 1 << 17;  // of all of them
// Of StructuredOutput: the text, or the choices together.
inline constexpr int kMaxConstraintBytes = 256 << 10;
inline constexpr int kMaxWhitespacePatternBytes = 4 << 10;
inline constexpr int kMaxEndTokens = 64;

}  // namespace baton
