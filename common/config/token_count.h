// Numbers of tokens as people write them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton {

// Tokens of "32768", "32k" (32,000), "32K" (32,768), "1m" or "1M" (2^20), as vLLM reads them: 1 to
// 2^31. 0, which leaves the number to the model, of "auto" and "-1". InvalidArgument that quotes
// the text for anything else.
absl::StatusOr<int64_t> ParseTokenCount(absl::string_view text);

// "auto" of 0; else the number.
std::string FormatTokenCount(int64_t num_tokens);

// A flag of this kind: every program reads it alike, from the command line and the environment.
struct TokenCount {
  int64_t value = 0;  // 0: the model's
};

bool AbslParseFlag(absl::string_view text, TokenCount* count, std::string* error);
std::string AbslUnparseFlag(const TokenCount& count);

}  // namespace baton
