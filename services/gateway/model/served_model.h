// The text side of the model that the group runs: everything the gateway reads from its folder.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/chat_template/chat_template.h"
#include "common/model/model_config.h"
#include "common/tokenizer/tokenizer_config.h"
#include "services/gateway/admission/generation_params.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/model/template_traits.h"
#include "services/gateway/text/reasoning_parser.h"
#include "services/gateway/text/tool_call_parser.h"

namespace baton::gateway {

struct ServedModelOptions {
  std::string model_dir;
  std::vector<std::string> names;  // served names; empty: the folder's path as given
  int64_t max_model_len = 0;       // 0: max_position_embeddings
  // Defaults of sampling are those of generation_config.json; else the neutral ones. Its
  // end-of-sequence tokens count either way.
  bool reads_generation_config = true;
  std::string chat_template_path;  // replaces the model's own template if set
  // JSON object of variables for the template that requests need not give; empty: none.
  std::string default_chat_template_kwargs;
  std::string reasoning_parser = "auto";  // "auto": deepseek_r1 for a model with its tags
  std::string tool_call_parser = "auto";  // "auto": as the template writes calls
  bool auto_tool_choice = true;           // the model may choose whether it calls
  // Refuses strict functions whose schemas cannot be kept even if the model chooses.
  bool refuses_unkept_strict = false;
};

// Immutable; any thread.
struct ServedModel {
  std::vector<std::string> names;
  std::string fingerprint;
  ModelConfig config;
  ModelLimits limits;
  SamplingDefaults defaults;
  ModelText text;
  std::unique_ptr<ChatTemplate> chat_template;  // null: the model has none, chat is refused
  std::string template_source;                  // of chat_template; empty: there is none
  Json template_arguments = Json::object();     // variables for it, unless a request gives others
  TemplateTraits template_traits;               // with these
  ReasoningFormat reasoning = ReasoningFormat::kNone;
  ToolCallFormat tool_calls = ToolCallFormat::kNone;
  bool auto_tool_choice = true;
  bool refuses_unkept_strict = false;
  absl::flat_hash_set<uint32_t> eos_token_ids;  // end every sequence
  int64_t created_unix_seconds = 0;             // when it was loaded

  // Whether its prompts leave it to the model to open its reasoning.
  bool LeavesReasoningToModel() const {
    return limits.reasoning && limits.reasoning->begin && !template_traits.writes_reasoning_tags;
  }

  // Whether a request may call the model so; the empty name means "whatever is served".
  bool HasName(absl::string_view name) const;

  // Errors: NotFound, InvalidArgument; the message names the file.
  static absl::StatusOr<std::unique_ptr<const ServedModel>> Load(const ServedModelOptions& options);
};

}  // namespace baton::gateway
