#include "common/tokenizer/tokenizer_config.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "common/status/status_macros.h"
#include "common/tokenizer/text_file.h"

namespace baton {
namespace {

using nlohmann::json;

constexpr size_t kMaxConfigBytes = size_t{16} << 20;
constexpr size_t kMaxTemplateBytes = size_t{1} << 20;
constexpr double kMaxModelLength = 1099511627776.0;  // 2^40

absl::Status WrongType(const char* key, const char* expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer_config.json: ", key, " is no ", expected));
}

// A token is a text, or an object with its `content`, or null.
absl::Status ReadToken(const json& root, const char* key, std::string* content) {
  const auto found = root.find(key);
  if (found == root.end() || found->is_null()) return absl::OkStatus();
  const json* value = &*found;
  if (value->is_object()) {
    const auto inner = value->find("content");
    if (inner == value->end()) return WrongType(key, "token: it has no content");
    value = &*inner;
  }
  if (!value->is_string()) return WrongType(key, "text");
  *content = value->get<std::string>();
  return absl::OkStatus();
}

// A template is a text, or a list of named ones of which "default" is meant.
absl::Status ReadTemplate(const json& root, std::string* source) {
  const auto found = root.find("chat_template");
  if (found == root.end() || found->is_null()) return absl::OkStatus();
  if (found->is_string()) {
    *source = found->get<std::string>();
    return absl::OkStatus();
  }
  if (!found->is_array()) return WrongType("chat_template", "text or list");
  for (const json& entry : *found) {
    if (!entry.is_object() || !entry.contains("name") || !entry.contains("template")) {
      return WrongType("chat_template", "list of objects with name and template");
    }
    if (entry["name"] != "default") continue;
    if (!entry["template"].is_string()) return WrongType("chat_template", "text");
    *source = entry["template"].get<std::string>();
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(absl::string_view text) {
  const json root = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) {
    return absl::InvalidArgumentError("tokenizer_config.json holds no JSON object");
  }
  TokenizerConfig config;
  RETURN_IF_ERROR(ReadToken(root, "bos_token", &config.bos_token));
  RETURN_IF_ERROR(ReadToken(root, "eos_token", &config.eos_token));
  RETURN_IF_ERROR(ReadToken(root, "pad_token", &config.pad_token));
  RETURN_IF_ERROR(ReadToken(root, "unk_token", &config.unk_token));
  if (const auto name = root.find("tokenizer_class"); name != root.end() && !name->is_null()) {
    if (!name->is_string()) return WrongType("tokenizer_class", "text");
    config.tokenizer_class = name->get<std::string>();
  }
  if (const auto add = root.find("add_bos_token"); add != root.end() && !add->is_null()) {
    if (!add->is_boolean()) return WrongType("add_bos_token", "boolean");
    config.add_bos_token = add->get<bool>();
  }
  if (const auto length = root.find("model_max_length");
      length != root.end() && !length->is_null()) {
    if (!length->is_number()) return WrongType("model_max_length", "number");
    const double value = length->get<double>();
    if (value >= 1 && value <= kMaxModelLength)
      config.model_max_length = static_cast<int64_t>(value);
  }
  RETURN_IF_ERROR(ReadTemplate(root, &config.chat_template));
  return config;
}

absl::StatusOr<ModelText> LoadModelText(const std::string& model_dir) {
  ModelText model;
  auto config = ReadTextFile(absl::StrCat(model_dir, "/tokenizer_config.json"), kMaxConfigBytes);
  if (config.ok()) {
    auto parsed = ParseTokenizerConfig(*config);
    if (!parsed.ok()) return Annotate(parsed.status(), model_dir);
    model.config = *std::move(parsed);
  } else if (!absl::IsNotFound(config.status())) {
    return config.status();
  }
  auto source = ReadTextFile(absl::StrCat(model_dir, "/chat_template.jinja"), kMaxTemplateBytes);
  if (source.ok()) {
    model.config.chat_template = *std::move(source);
  } else if (!absl::IsNotFound(source.status())) {
    return source.status();
  }
  TokenizerOptions options;
  if (model.config.add_bos_token) options.bos_token = model.config.bos_token;
  ASSIGN_OR_RETURN(model.tokenizer,
                   Tokenizer::CreateFromFile(absl::StrCat(model_dir, "/tokenizer.json"), options));
  return model;
}

}  // namespace baton
