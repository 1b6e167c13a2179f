#include "tools/bench_serve/prompts.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "common/status/status_macros.h"
#include "tools/bench_serve/random_tokens.h"
#include "tools/bench_serve/sharegpt.h"

namespace baton::bench {
namespace {

absl::StatusOr<Prompt> FromIds(std::vector<uint32_t> ids, int64_t output_len, bool as_text,
                               RandomTokens& random) {
  Prompt prompt;
  prompt.output_len = output_len;
  if (as_text) {
    ASSIGN_OR_RETURN(prompt.text, random.Settle(&ids));
    prompt.num_tokens = static_cast<uint32_t>(ids.size());
  } else {
    prompt.num_tokens = static_cast<uint32_t>(ids.size());
    prompt.token_ids = std::move(ids);
  }
  return prompt;
}

// A length from [length (1 - ratio), length (1 + ratio)], at least 1.
int64_t VaryLength(int64_t length, double ratio, RandomTokens& random) {
  const auto wanted = static_cast<double>(length);
  const auto least = static_cast<int64_t>(std::floor(wanted * (1 - ratio)));
  const auto most = static_cast<int64_t>(std::ceil(wanted * (1 + ratio)));
  return std::max<int64_t>(random.Number(least, most), 1);
}

absl::StatusOr<std::vector<Prompt>> MakeRandom(const PromptOptions& options, int64_t count,
                                               RandomTokens& random) {
  const std::vector<uint32_t> prefix = random.Ids(options.prefix_len);
  std::vector<Prompt> prompts;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<uint32_t> ids = prefix;
    const std::vector<uint32_t> rest =
        random.Ids(VaryLength(options.input_len, options.range_ratio, random));
    ids.insert(ids.end(), rest.begin(), rest.end());
    ASSIGN_OR_RETURN(
        Prompt prompt,
        FromIds(std::move(ids), VaryLength(options.output_len, options.range_ratio, random),
                options.as_text, random));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

// Prefixes take turns, so that no prefix is all first or all last.
absl::StatusOr<std::vector<Prompt>> MakePrefixRepetition(const PromptOptions& options,
                                                         int64_t count, RandomTokens& random) {
  std::vector<std::vector<uint32_t>> prefixes;
  for (int64_t i = 0; i < options.num_prefixes; ++i) {
    prefixes.push_back(random.Ids(options.repetition_prefix_len));
  }
  std::vector<Prompt> prompts;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<uint32_t> ids = prefixes[static_cast<size_t>(i % options.num_prefixes)];
    const std::vector<uint32_t> suffix = random.Ids(options.repetition_suffix_len);
    ids.insert(ids.end(), suffix.begin(), suffix.end());
    ASSIGN_OR_RETURN(Prompt prompt, FromIds(std::move(ids), options.repetition_output_len,
                                            options.as_text, random));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

absl::StatusOr<std::vector<Prompt>> ReadCustom(const PromptOptions& options,
                                               const Tokenizer* tokenizer, int64_t count) {
  std::ifstream file(options.path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", options.path));
  std::vector<Prompt> prompts;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty()) continue;
    const nlohmann::json row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const auto text = row.is_object() ? row.find("prompt") : row.end();
    if (!row.is_object() || text == row.end() || !text->is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat(options.path, ":", number, " is no object with a string \"prompt\""));
    }
    Prompt prompt;
    prompt.text = text->get<std::string>();
    prompt.output_len = options.custom_output_len;
    if (const auto length = row.find("output_tokens");
        length != row.end() && length->is_number_unsigned()) {
      prompt.output_len = length->get<int64_t>();
    }
    if (tokenizer != nullptr) {
      ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, tokenizer->Encode(prompt.text));
      prompt.num_tokens = static_cast<uint32_t>(ids.size());
    }
    prompts.push_back(std::move(prompt));
  }
  if (prompts.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(options.path, " has no prompts"));
  }
  const size_t num_rows = prompts.size();
  prompts.resize(static_cast<size_t>(count));  // a short file is used again from its begin
  for (size_t i = num_rows; i < prompts.size(); ++i) prompts[i] = prompts[i % num_rows];
  return prompts;
}

}  // namespace

absl::StatusOr<std::vector<Prompt>> MakePrompts(const PromptOptions& options,
                                                const Tokenizer* tokenizer, int64_t count,
                                                uint64_t seed) {
  if (options.dataset == Dataset::kCustom) return ReadCustom(options, tokenizer, count);
  if (options.dataset == Dataset::kShareGpt) return ReadShareGpt(options, tokenizer, count, seed);
  if (options.as_text && tokenizer == nullptr) {
    return absl::InvalidArgumentError("random text needs a tokenizer: --tokenizer DIR");
  }
  RandomTokens random(tokenizer, options.vocab_size, seed);
  return options.dataset == Dataset::kRandom ? MakeRandom(options, count, random)
                                             : MakePrefixRepetition(options, count, random);
}

}  // namespace baton::bench
