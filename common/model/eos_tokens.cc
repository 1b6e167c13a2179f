#include "common/model/eos_tokens.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "common/status/status_macros.h"

namespace baton {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

// A number, a list of numbers, or nothing.
absl::StatusOr<std::vector<uint32_t>> GenerationEosTokenIds(const std::string& path,
                                                            int64_t vocab_size) {
  std::vector<uint32_t> tokens;
  std::ifstream file(path, std::ios::binary);
  if (!file) return tokens;
  std::string text(kMaxFileBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  const nlohmann::json fields = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!fields.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a JSON object"));
  }
  const auto found = fields.find("eos_token_id");
  if (found == fields.end() || found->is_null()) return tokens;
  nlohmann::json list = nlohmann::json::array();
  if (found->is_array()) {
    list = *found;
  } else {
    list.push_back(*found);
  }
  for (const nlohmann::json& entry : list) {
    if (!entry.is_number_unsigned() || entry.get<uint64_t>() >= static_cast<uint64_t>(vocab_size)) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": eos_token_id has an entry that is no token of the vocabulary of ", vocab_size));
    }
    tokens.push_back(entry.get<uint32_t>());
  }
  return tokens;
}

}  // namespace

absl::StatusOr<std::vector<uint32_t>> ReadEosTokenIds(const ModelConfig& config,
                                                      const std::string& directory) {
  ASSIGN_OR_RETURN(
      std::vector<uint32_t> tokens,
      GenerationEosTokenIds(absl::StrCat(directory, "/generation_config.json"), config.vocab_size));
  for (int64_t token : config.eos_token_ids) tokens.push_back(static_cast<uint32_t>(token));
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  return tokens;
}

}  // namespace baton
