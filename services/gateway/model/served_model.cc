#include "services/gateway/model/served_model.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "common/log/log.h"
#include "common/model/eos_tokens.h"
#include "common/status/status_macros.h"
#include "services/gateway/model/generation_config.h"

namespace baton::gateway {
namespace {

constexpr uintmax_t kMaxFileBytes = 1 << 20;

// The whole of a small file. Errors: NotFound, InvalidArgument (too large), Unavailable.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ", error.message()));
  if (size > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", size, " bytes, at most ", kMaxFileBytes, " are allowed"));
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  if (!file) return absl::UnavailableError(absl::StrCat("cannot read ", path));
  return content.str();
}

absl::Status LoadDefaults(const std::string& model_dir, ServedModel* model) {
  const auto text = ReadSmallFile(model_dir + "/generation_config.json");
  if (absl::IsNotFound(text.status())) return absl::OkStatus();  // optional
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(model->defaults, ParseGenerationConfig(*text));
  return absl::OkStatus();
}

absl::StatusOr<Json> ReadTemplateArguments(const std::string& text) {
  if (text.empty()) return Json::object();
  auto arguments = ParseJsonObject(text);
  if (!arguments.ok()) return Annotate(arguments.status(), "--default-chat-template-kwargs");
  return arguments;
}

absl::Status LoadTemplate(const ServedModelOptions& options, ServedModel* model) {
  ASSIGN_OR_RETURN(model->template_arguments,
                   ReadTemplateArguments(options.default_chat_template_kwargs));
  std::string source = model->text.config.chat_template;
  if (!options.chat_template_path.empty()) {
    ASSIGN_OR_RETURN(source, ReadSmallFile(options.chat_template_path));
  }
  if (source.empty()) {
    BATON_LOG(WARNING) << "the model has no chat template: chat completions will be refused";
    return absl::OkStatus();
  }
  auto compiled = ChatTemplate::Create(source);
  if (!compiled.ok()) return Annotate(compiled.status(), "chat template");
  model->chat_template = std::move(*compiled);
  model->template_source = std::move(source);
  model->template_traits = ProbeTemplate(*model->chat_template, model->template_arguments);
  return absl::OkStatus();
}

// What `--reasoning-parser auto` means for this model: ask its template, and whether the model may
// write the tags itself.
ReasoningFormat DetectReasoning(const ServedModel& model) {
  if (model.chat_template == nullptr) return ReasoningFormat::kNone;
  const Tokenizer& tokenizer = *model.text.tokenizer;
  const bool has_tags = tokenizer.TokenId("<think>") && tokenizer.TokenId("</think>");
  return has_tags || model.template_traits.opens_reasoning ? ReasoningFormat::kDeepSeekR1
                                                           : ReasoningFormat::kNone;
}

}  // namespace

bool ServedModel::HasName(absl::string_view name) const {
  return name.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

absl::StatusOr<std::unique_ptr<const ServedModel>> ServedModel::Load(
    const ServedModelOptions& options) {
  auto model = std::make_unique<ServedModel>();
  model->names = options.names;
  if (model->names.empty()) model->names.push_back(options.model_dir);
  model->created_unix_seconds = absl::ToUnixSeconds(absl::Now());

  ASSIGN_OR_RETURN(const std::string config_text, ReadModelConfigText(options.model_dir));
  ASSIGN_OR_RETURN(model->config, ParseModelConfig(config_text));
  model->fingerprint = ModelFingerprint(config_text);
  ASSIGN_OR_RETURN(const std::vector<uint32_t> eos_token_ids,
                   ReadEosTokenIds(model->config, options.model_dir));
  model->eos_token_ids.insert(eos_token_ids.begin(), eos_token_ids.end());
  model->limits.vocab_size = model->config.vocab_size;
  model->limits.max_model_len = model->config.max_positions;
  if (options.max_model_len > model->config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--max-model-len is ", options.max_model_len, "; wanted 1 to ", model->config.max_positions,
        " (max_position_embeddings of the model) or auto"));
  }
  if (options.max_model_len > 0) model->limits.max_model_len = options.max_model_len;

  ASSIGN_OR_RETURN(model->text, LoadModelText(options.model_dir));
  const Tokenizer& tokenizer = *model->text.tokenizer;
  for (uint32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.IsAdded(id)) model->limits.textless_token_ids.push_back(id);
  }
  if (options.reads_generation_config) {
    RETURN_IF_ERROR(LoadDefaults(options.model_dir, model.get()));
  }
  RETURN_IF_ERROR(LoadTemplate(options, model.get()));
  if (options.reasoning_parser == "auto") {
    model->reasoning = DetectReasoning(*model);
  } else {
    ASSIGN_OR_RETURN(model->reasoning, ParseReasoningFormat(options.reasoning_parser));
  }
  if (const auto end = tokenizer.TokenId("</think>");
      end && model->reasoning != ReasoningFormat::kNone) {
    model->limits.reasoning = {.begin = tokenizer.TokenId("<think>"), .end = *end};
  }
  if (options.tool_call_parser == "auto") {
    model->tool_calls = model->template_traits.calls;
  } else {
    ASSIGN_OR_RETURN(model->tool_calls, ParseToolCallFormat(options.tool_call_parser));
  }
  model->auto_tool_choice = options.auto_tool_choice;
  model->refuses_unkept_strict = options.refuses_unkept_strict;
  return model;
}

}  // namespace baton::gateway
