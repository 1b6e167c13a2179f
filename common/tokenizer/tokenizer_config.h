// What a model folder says about its text side: tokenizer_config.json and the chat template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/tokenizer/tokenizer.h"

namespace baton {

struct TokenizerConfig {
  std::string bos_token;  // contents; empty when the file names none
  std::string eos_token;
  std::string pad_token;
  std::string unk_token;
  std::string tokenizer_class;   // transformers' name; empty when the file names none
  bool add_bos_token = false;    // Encode's add_special_tokens puts bos_token first
  int64_t model_max_length = 0;  // tokens; 0 when absent or beyond 2^40 ("very large integer")
  std::string chat_template;     // Jinja source; empty when the file has none
};

// Errors: InvalidArgument naming the key that has a wrong type or an unsupported value.
absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(absl::string_view json);

struct ModelText {
  TokenizerConfig config;
  std::unique_ptr<Tokenizer> tokenizer;
};

// Reads tokenizer.json, tokenizer_config.json (may be absent) and chat_template.jinja (wins over
// the one in tokenizer_config.json when present) of `model_dir`.
// Errors: as Tokenizer::CreateFromFile and ParseTokenizerConfig, with the path put before.
absl::StatusOr<ModelText> LoadModelText(const std::string& model_dir);

}  // namespace baton
