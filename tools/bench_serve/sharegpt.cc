#include "tools/bench_serve/sharegpt.h"

#include <algorithm>
#include <fstream>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "common/status/status_macros.h"

namespace baton::bench {
namespace {

using Json = nlohmann::json;

// Of vLLM's is_valid_sequence.
constexpr size_t kLeastTokens = 4;
constexpr size_t kMostPromptTokens = 1024;
constexpr size_t kMostTokens = 2048;

struct Exchange {
  std::string question;
  std::string answer;
};

// Text of turn `index`; null if there is none.
const std::string* Turn(const Json& conversation, size_t index) {
  const Json& turn = conversation[index];
  if (!turn.is_object()) return nullptr;
  const auto value = turn.find("value");
  if (value == turn.end()) return nullptr;
  return value->get_ptr<const std::string*>();
}

absl::StatusOr<std::vector<Exchange>> ReadExchanges(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  const Json rows = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!rows.is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is no JSON array of conversations"));
  }
  std::vector<Exchange> exchanges;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].is_object()) continue;
    const auto conversation = rows[i].find("conversations");
    if (conversation == rows[i].end() || !conversation->is_array() || conversation->size() < 2) {
      continue;
    }
    const std::string* question = Turn(*conversation, 0);
    const std::string* answer = Turn(*conversation, 1);
    if (question == nullptr || answer == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": element ", i, " has a turn without a string \"value\""));
    }
    exchanges.push_back({*question, *answer});
  }
  return exchanges;
}

}  // namespace

absl::StatusOr<std::vector<Prompt>> ReadShareGpt(const PromptOptions& options,
                                                 const Tokenizer* tokenizer, int64_t count,
                                                 uint64_t seed) {
  if (tokenizer == nullptr) {
    return absl::InvalidArgumentError("lengths of conversations need a tokenizer: --tokenizer DIR");
  }
  ASSIGN_OR_RETURN(std::vector<Exchange> exchanges, ReadExchanges(options.path));
  std::shuffle(exchanges.begin(), exchanges.end(), std::mt19937_64(seed));
  const bool from_file = options.sharegpt_output_len == 0;
  const auto wanted = static_cast<size_t>(count);
  std::vector<Prompt> prompts;
  for (Exchange& exchange : exchanges) {
    if (prompts.size() == wanted) break;
    ASSIGN_OR_RETURN(const std::vector<uint32_t> question, tokenizer->Encode(exchange.question));
    auto num_output = static_cast<size_t>(options.sharegpt_output_len);
    if (from_file) {
      ASSIGN_OR_RETURN(const std::vector<uint32_t> answer, tokenizer->Encode(exchange.answer));
      num_output = answer.size();
    }
    if (question.size() < kLeastTokens || question.size() > kMostPromptTokens ||
        (from_file && num_output < kLeastTokens) || question.size() + num_output > kMostTokens) {
      continue;
    }
    prompts.push_back({.text = std::move(exchange.question),
                       .num_tokens = static_cast<uint32_t>(question.size()),
                       .output_len = static_cast<int64_t>(num_output)});
  }
  if (prompts.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.path, " has no conversation of a fitting length"));
  }
  const size_t num_rows = prompts.size();
  prompts.resize(wanted);
  for (size_t i = num_rows; i < wanted; ++i) prompts[i] = prompts[i % num_rows];
  return prompts;
}

}  // namespace baton::bench
