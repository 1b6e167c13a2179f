#include "services/gateway/anthropic/messages_request.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/anthropic/messages_fields.h"
#include "services/gateway/json/field_reader.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {
namespace {

std::string TypeOfBlock(const Json& block) {
  if (!block.is_object() || !block.contains("type") || !block["type"].is_string()) return "";
  return block["type"].get<std::string>();
}

absl::StatusOr<std::string> TextMember(const Json& block, const char* name,
                                       const std::string& field) {
  if (block.contains(name) && block[name].is_string()) return block[name].get<std::string>();
  return InvalidField(absl::StrCat(field, ".", name), "must be a string");
}

// The message of a tool_result. One that is an error says so, for the model has no other sign of
// it.
absl::StatusOr<Json> ReadToolResult(const Json& block, const std::string& field) {
  ASSIGN_OR_RETURN(std::string id, TextMember(block, "tool_use_id", field));
  std::string result;
  if (block.contains("content")) {
    ASSIGN_OR_RETURN(result, ReadContentText(block["content"], field + ".content", "text"));
  }
  const Json is_error = block.value("is_error", Json());
  if (!is_error.is_null() && !is_error.is_boolean()) {
    return InvalidField(field + ".is_error", "must be a boolean");
  }
  if (is_error == true) result = absl::StrCat("Error", result.empty() ? "" : ": ", result);
  return Json{{"role", "tool"}, {"tool_call_id", std::move(id)}, {"content", std::move(result)}};
}

// Results of tools are messages of their own and come before the user's text.
absl::Status AppendUserTurn(const Json& content, const std::string& field, Json* messages) {
  if (content.is_string()) {
    messages->push_back({{"role", "user"}, {"content", content}});
    return absl::OkStatus();
  }
  if (!content.is_array()) return InvalidField(field, "must be a string or a list of blocks");
  Json text;
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string name = absl::StrCat(field, "[", i, "]");
    if (TypeOfBlock(content[i]) == "tool_result") {
      ASSIGN_OR_RETURN(Json message, ReadToolResult(content[i], name));
      messages->push_back(std::move(message));
      continue;
    }
    ASSIGN_OR_RETURN(const std::string piece, ReadTextPart(content[i], name, "text"));
    AppendText(text.is_null() ? piece : "\n" + piece, &text);
  }
  if (content.empty()) text = "";
  if (!text.is_null()) messages->push_back({{"role", "user"}, {"content", std::move(text)}});
  return absl::OkStatus();
}

absl::Status AppendAssistantBlock(const Json& block, const std::string& field, Json* message) {
  const std::string type = TypeOfBlock(block);
  if (type == "text") {
    ASSIGN_OR_RETURN(const std::string text, TextMember(block, "text", field));
    AppendText(text, &(*message)["content"]);
  } else if (type == "thinking") {
    ASSIGN_OR_RETURN(const std::string thinking, TextMember(block, "thinking", field));
    AppendText(thinking, &(*message)["reasoning_content"]);
  } else if (type == "tool_use") {
    ASSIGN_OR_RETURN(std::string id, TextMember(block, "id", field));
    ASSIGN_OR_RETURN(std::string name, TextMember(block, "name", field));
    const bool has_input = block.contains("input") && block["input"].is_object();
    if (!has_input) return InvalidField(field + ".input", "must be an object");
    (*message)["tool_calls"].push_back(
        {{"id", std::move(id)},
         {"type", "function"},
         {"function", {{"name", std::move(name)}, {"arguments", DumpJson(block["input"])}}}});
  } else if (type != "redacted_thinking") {
    return InvalidField(field, "must be a text, thinking or tool_use block");
  }
  return absl::OkStatus();
}

absl::Status AppendAssistantTurn(const Json& content, const std::string& field,
                                 ChatTranslation* out) {
  Json& messages = out->chat["messages"];
  const std::string ours = absl::StrCat("messages[", messages.size(), "]");
  Json message = {{"role", "assistant"}, {"content", nullptr}};
  if (content.is_string()) {
    message["content"] = content;
  } else if (content.is_array()) {
    for (size_t i = 0; i < content.size(); ++i) {
      const std::string name = absl::StrCat(field, "[", i, "]");
      RETURN_IF_ERROR(AppendAssistantBlock(content[i], name, &message));
      if (TypeOfBlock(content[i]) != "tool_use") continue;
      const size_t index = message["tool_calls"].size() - 1;
      out->names.emplace_back(absl::StrCat(ours, ".tool_calls[", index, "].function"), name);
    }
    if (message["content"].is_null() && !message.contains("tool_calls")) message["content"] = "";
  } else {
    return InvalidField(field, "must be a string or a list of blocks");
  }
  messages.push_back(std::move(message));
  return absl::OkStatus();
}

absl::Status ReadTurns(FieldReader& reader, ChatTranslation* out) {
  Json& messages = out->chat["messages"];
  const Json* turns = reader.FindSet("messages");
  if (turns == nullptr || !turns->is_array() || turns->empty()) {
    return InvalidField("messages", "must be a list of at least one message");
  }
  for (size_t i = 0; i < turns->size(); ++i) {
    const std::string field = absl::StrCat("messages[", i, "]");
    const Json& turn = (*turns)[i];
    if (!turn.is_object() || !turn.contains("content")) {
      return InvalidField(field + ".content", "must be a string or a list of blocks");
    }
    const Json role = turn.contains("role") ? turn["role"] : Json(nullptr);
    const size_t first = messages.size();
    if (role == "user") {
      RETURN_IF_ERROR(AppendUserTurn(turn["content"], field + ".content", &messages));
    } else if (role == "assistant") {
      RETURN_IF_ERROR(AppendAssistantTurn(turn["content"], field + ".content", out));
    } else {
      return InvalidField(field + ".role", "must be user or assistant");
    }
    for (size_t k = first; k < messages.size(); ++k) {
      out->names.emplace_back(absl::StrCat("messages[", k, "]"), field);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadTools(FieldReader& reader, ChatTranslation* out) {
  const Json* tools = reader.FindSet("tools");
  if (tools == nullptr || (tools->is_array() && tools->empty())) return absl::OkStatus();
  if (!tools->is_array()) return InvalidField("tools", "must be a list");
  Json& list = out->chat["tools"] = Json::array();
  for (size_t i = 0; i < tools->size(); ++i) {
    const std::string field = absl::StrCat("tools[", i, "]");
    const Json& tool = (*tools)[i];
    const std::string type = TypeOfBlock(tool);
    if (!tool.is_object() || !(type.empty() || type == "custom")) {
      return InvalidField(field, "must be a tool of the client's own: this server runs none");
    }
    Json function = {{"name", tool.value("name", Json())}};
    if (tool.contains("description")) function["description"] = tool["description"];
    if (tool.contains("input_schema")) function["parameters"] = tool["input_schema"];
    if (tool.contains("strict")) function["strict"] = tool["strict"];
    out->names.emplace_back(field + ".function", field);
    out->names.emplace_back(field + ".function.parameters", field + ".input_schema");
    list.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return absl::OkStatus();
}

absl::Status ReadToolUse(FieldReader& reader, ChatTranslation* out) {
  const Json* choice = reader.FindSet("tool_choice");
  if (choice == nullptr) return absl::OkStatus();
  const std::string type = TypeOfBlock(*choice);
  if (type == "auto" || type == "none") {
    out->chat["tool_choice"] = type;
  } else if (type == "any") {
    out->chat["tool_choice"] = "required";
  } else if (type == "tool") {
    ASSIGN_OR_RETURN(std::string name, TextMember(*choice, "name", "tool_choice"));
    out->chat["tool_choice"] = {{"type", "function"}, {"function", {{"name", std::move(name)}}}};
  } else {
    return InvalidField("tool_choice.type", "must be auto, any, tool or none");
  }
  FieldReader inner(*choice);
  bool one_only = false;
  inner.Read("disable_parallel_tool_use", &one_only);
  RETURN_IF_ERROR(Annotate(inner.status(), "tool_choice"));
  if (one_only) out->Set("parallel_tool_calls", "tool_choice.disable_parallel_tool_use", false);
  return absl::OkStatus();
}

absl::Status ReadThinking(FieldReader& reader, ChatTranslation* out) {
  const Json* thinking = reader.FindSet("thinking");
  if (thinking == nullptr) return absl::OkStatus();
  const std::string type = TypeOfBlock(*thinking);
  if (type != "enabled" && type != "disabled" && type != "adaptive") {
    return InvalidField("thinking.type", "must be enabled, disabled or adaptive");
  }
  if (type == "disabled") {
    out->without_reasoning = true;
    out->names.emplace_back("thinking_token_budget", "thinking");
    out->names.emplace_back("include_reasoning", "thinking");
    return absl::OkStatus();
  }
  if (type == "enabled" && thinking->contains("budget_tokens")) {
    out->Set("thinking_token_budget", "thinking.budget_tokens", (*thinking)["budget_tokens"]);
  }
  const Json display = thinking->value("display", Json());
  if (display == "omitted") {
    out->Set("include_reasoning", "thinking.display", false);
  } else if (!display.is_null() && display != "summarized") {
    return InvalidField("thinking.display", "must be summarized or omitted");
  }
  return absl::OkStatus();
}

// Templates know the reasoning's switch by these names; what they are told must not be the
// contrary.
absl::Status CheckTemplateArguments(FieldReader& reader, const ChatTranslation& out) {
  const Json* thinking = reader.FindSet("thinking");
  const std::string type = thinking == nullptr ? "" : TypeOfBlock(*thinking);
  const auto arguments = out.chat.find("chat_template_kwargs");
  if (arguments == out.chat.end() || !arguments->is_object()) return absl::OkStatus();
  for (const char* name : {"thinking", "enable_thinking"}) {
    const Json value = arguments->value(name, Json());
    if (value.is_null()) continue;
    if ((type == "enabled" && value == false) || (type == "disabled" && value != false)) {
      return InvalidField(
          "chat_template_kwargs",
          absl::StrCat("says the contrary of thinking.type ", "with its member ", name));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadFormat(const Json& format, const std::string& field, ChatTranslation* out) {
  if (TypeOfBlock(format) != "json_schema") {
    return InvalidField(field + ".type", "must be json_schema");
  }
  const Json schema = format.value("schema", Json());
  if (!schema.is_object()) return InvalidField(field + ".schema", "must be a JSON schema");
  if (out->chat.contains("response_format")) {
    return InvalidField(field, "cannot be given together with output_format");
  }
  out->Set("response_format", field,
           {{"type", "json_schema"}, {"json_schema", {{"name", "output"}, {"schema", schema}}}});
  return absl::OkStatus();
}

// `output_format` is the former name of `output_config.format`.
absl::Status ReadOutput(FieldReader& reader, ChatTranslation* out) {
  if (const Json* format = reader.FindSet("output_format"); format != nullptr) {
    RETURN_IF_ERROR(ReadFormat(*format, "output_format", out));
  }
  const Json* config = reader.FindSet("output_config");
  if (config == nullptr) return absl::OkStatus();
  if (!config->is_object()) return InvalidField("output_config", "must be an object");
  FieldReader inner(*config);
  if (const Json* effort = inner.FindSet("effort"); effort != nullptr) {
    out->Set("reasoning_effort", "output_config.effort", *effort);
  }
  if (const Json* format = inner.FindSet("format"); format != nullptr) {
    RETURN_IF_ERROR(ReadFormat(*format, "output_config.format", out));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ChatTranslation> ChatOfMessages(absl::string_view body, MessagesUse use,
                                               const RequestCaps& caps) {
  ASSIGN_OR_RETURN(const Json json, ParseBody(body, caps));
  FieldReader reader(json);
  ChatTranslation out;
  TakeRenamedFields(reader, MessagesApi(), &out);
  if (use == MessagesUse::kAnswer && !out.chat.contains("max_tokens")) {
    return InvalidField("max_tokens", "is required");
  }
  Json& messages = out.chat["messages"] = Json::array();
  if (const Json* system = reader.FindSet("system"); system != nullptr) {
    ASSIGN_OR_RETURN(std::string text, ReadContentText(*system, "system", "text"));
    messages.push_back({{"role", "system"}, {"content", std::move(text)}});
    out.names.emplace_back("messages[0]", "system");
  }
  RETURN_IF_ERROR(ReadTurns(reader, &out));
  RETURN_IF_ERROR(ReadTools(reader, &out));
  RETURN_IF_ERROR(ReadToolUse(reader, &out));
  RETURN_IF_ERROR(ReadThinking(reader, &out));
  RETURN_IF_ERROR(ReadOutput(reader, &out));
  reader.Find("cache_control");  // the beginnings of prompts are kept anyway
  RETURN_IF_ERROR(RefuseFields(reader, MessagesApi().unsupported));
  RETURN_IF_ERROR(RefuseFields(reader, FieldsOfChatAnswers()));
  RETURN_IF_ERROR(TakeChatFields(reader, "/v1/messages", &out));
  RETURN_IF_ERROR(CheckTemplateArguments(reader, out));
  return out;
}

}  // namespace baton::gateway
