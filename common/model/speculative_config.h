// What --speculative-config asks for.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/model/model_config.h"

namespace baton {

// Tokens that a step may guess behind one that it draws, at most: the module's guesses get worse by
// the token, and each has a row in the next step.
inline constexpr int64_t kMaxSpeculativeTokens = 8;

// Tokens to be guessed behind each one, by vLLM's form: {"method": "mtp", "num_speculative_tokens":
// 1}. 0 for an empty text, the model's number of MTP modules if the text gives none. Errors:
// InvalidArgument naming what is wrong (no JSON object, another method, an unknown key, a number
// out of [1, kMaxSpeculativeTokens], a model without an MTP module).
absl::StatusOr<uint32_t> ParseSpeculativeConfig(absl::string_view text, const ModelConfig& model);

}  // namespace baton
