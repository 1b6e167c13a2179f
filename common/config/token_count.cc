#include "common/config/token_count.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace baton {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 31;
constexpr std::pair<const char*, int64_t> kUnits[] = {
    {"k", 1000}, {"K", 1 << 10}, {"m", 1000000}, {"M", 1 << 20}};

}  // namespace

absl::StatusOr<int64_t> ParseTokenCount(absl::string_view text) {
  if (text == "auto" || text == "-1") return 0;
  absl::string_view digits = text;
  int64_t unit = 1;
  for (const auto& [suffix, size] : kUnits) {
    if (absl::ConsumeSuffix(&digits, suffix)) {
      unit = size;
      break;
    }
  }
  int64_t count = 0;
  if (absl::SimpleAtoi(digits, &count) && count >= 1 && count <= kMostTokens / unit) {
    return count * unit;
  }
  return absl::InvalidArgumentError(absl::StrCat("\"", text,
                                                 "\" is not a number of tokens: wanted 1 to ",
                                                 kMostTokens, " (32768, 32k or 32K) or auto"));
}

std::string FormatTokenCount(int64_t num_tokens) {
  return num_tokens == 0 ? "auto" : absl::StrCat(num_tokens);
}

bool AbslParseFlag(absl::string_view text, TokenCount* count, std::string* error) {
  const absl::StatusOr<int64_t> parsed = ParseTokenCount(text);
  if (!parsed.ok()) {
    *error = std::string(parsed.status().message());
    return false;
  }
  count->value = *parsed;
  return true;
}

std::string AbslUnparseFlag(const TokenCount& count) { return FormatTokenCount(count.value); }

}  // namespace baton
