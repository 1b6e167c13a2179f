#include "services/gateway/anthropic/messages_request.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/json/field_reader.h"

namespace baton::gateway {
namespace {

// Fields with the same meaning and type in both APIs.
constexpr std::pair<const char*, const char*> kSameFields[] = {
    {"model", "model"},   {"max_tokens", "max_tokens"},   {"stop_sequences", "stop"},
    {"stream", "stream"}, {"temperature", "temperature"}, {"top_p", "top_p"},
    {"top_k", "top_k"},
};

std::string TypeOfBlock(const Json& block) {
  if (!block.is_object() || !block.contains("type") || !block["type"].is_string()) return "";
  return block["type"].get<std::string>();
}

absl::StatusOr<std::string> TextMember(const Json& block, const char* name,
                                       const std::string& field) {
  if (block.contains(name) && block[name].is_string()) return block[name].get<std::string>();
  return InvalidField(absl::StrCat(field, ".", name), "must be a string");
}

// A text, or a list of text blocks.
absl::StatusOr<std::string> ReadTextBlocks(const Json& content, const std::string& field) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) return InvalidField(field, "must be a string or a list of blocks");
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string name = absl::StrCat(field, "[", i, "]");
    if (TypeOfBlock(content[i]) != "text") {
      return InvalidField(name, "must be a text block: this model reads text");
    }
    ASSIGN_OR_RETURN(const std::string piece, TextMember(content[i], "text", name));
    absl::StrAppend(&text, i == 0 ? "" : "\n", piece);
  }
  return text;
}

// Results of tools are messages of their own and come before the user's text.
absl::Status AppendUserTurn(const Json& content, const std::string& field, Json* messages) {
  if (content.is_string()) {
    messages->push_back({{"role", "user"}, {"content", content}});
    return absl::OkStatus();
  }
  if (!content.is_array()) return InvalidField(field, "must be a string or a list of blocks");
  Json texts = Json::array();
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string name = absl::StrCat(field, "[", i, "]");
    if (TypeOfBlock(content[i]) != "tool_result") {
      texts.push_back(content[i]);
      continue;
    }
    ASSIGN_OR_RETURN(std::string id, TextMember(content[i], "tool_use_id", name));
    std::string result;
    if (content[i].contains("content")) {
      ASSIGN_OR_RETURN(result, ReadTextBlocks(content[i]["content"], name + ".content"));
    }
    messages->push_back(
        {{"role", "tool"}, {"tool_call_id", std::move(id)}, {"content", std::move(result)}});
  }
  if (texts.empty() && !content.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(std::string text, ReadTextBlocks(texts, field));
  messages->push_back({{"role", "user"}, {"content", std::move(text)}});
  return absl::OkStatus();
}

absl::Status AppendAssistantBlock(const Json& block, const std::string& field, Json* message) {
  const std::string type = TypeOfBlock(block);
  if (type == "text") {
    ASSIGN_OR_RETURN(const std::string text, TextMember(block, "text", field));
    Json& content = (*message)["content"];
    content = content.is_null() ? text : content.get<std::string>() + text;
  } else if (type == "thinking") {
    ASSIGN_OR_RETURN((*message)["reasoning_content"], TextMember(block, "thinking", field));
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

absl::Status AppendAssistantTurn(const Json& content, const std::string& field, Json* messages) {
  Json message = {{"role", "assistant"}, {"content", nullptr}};
  if (content.is_string()) {
    message["content"] = content;
  } else if (content.is_array()) {
    for (size_t i = 0; i < content.size(); ++i) {
      RETURN_IF_ERROR(AppendAssistantBlock(content[i], absl::StrCat(field, "[", i, "]"), &message));
    }
    if (message["content"].is_null() && !message.contains("tool_calls")) message["content"] = "";
  } else {
    return InvalidField(field, "must be a string or a list of blocks");
  }
  messages->push_back(std::move(message));
  return absl::OkStatus();
}

absl::Status ReadTurns(FieldReader& reader, Json* messages) {
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
    if (role == "user") {
      RETURN_IF_ERROR(AppendUserTurn(turn["content"], field + ".content", messages));
    } else if (role == "assistant") {
      RETURN_IF_ERROR(AppendAssistantTurn(turn["content"], field + ".content", messages));
    } else {
      return InvalidField(field + ".role", "must be user or assistant");
    }
  }
  return absl::OkStatus();
}

absl::Status ReadTools(FieldReader& reader, Json* chat) {
  const Json* tools = reader.FindSet("tools");
  if (tools == nullptr || (tools->is_array() && tools->empty())) return absl::OkStatus();
  if (!tools->is_array()) return InvalidField("tools", "must be a list");
  Json& list = (*chat)["tools"] = Json::array();
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
    list.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return absl::OkStatus();
}

absl::Status ReadToolUse(FieldReader& reader, Json* chat) {
  const Json* choice = reader.FindSet("tool_choice");
  if (choice == nullptr) return absl::OkStatus();
  const std::string type = TypeOfBlock(*choice);
  if (type == "auto" || type == "none") {
    (*chat)["tool_choice"] = type;
  } else if (type == "any") {
    (*chat)["tool_choice"] = "required";
  } else if (type == "tool") {
    ASSIGN_OR_RETURN(std::string name, TextMember(*choice, "name", "tool_choice"));
    (*chat)["tool_choice"] = {{"type", "function"}, {"function", {{"name", std::move(name)}}}};
  } else {
    return InvalidField("tool_choice.type", "must be auto, any, tool or none");
  }
  FieldReader inner(*choice);
  bool one_only = false;
  inner.Read("disable_parallel_tool_use", &one_only);
  RETURN_IF_ERROR(Annotate(inner.status(), "tool_choice"));
  if (one_only) (*chat)["parallel_tool_calls"] = false;
  return absl::OkStatus();
}

absl::Status ReadThinking(FieldReader& reader, Json* chat) {
  const Json* thinking = reader.FindSet("thinking");
  if (thinking == nullptr) return absl::OkStatus();
  const std::string type = TypeOfBlock(*thinking);
  if (type == "disabled") {
    (*chat)["include_reasoning"] = false;
  } else if (type == "enabled") {
    if (thinking->contains("budget_tokens")) {
      (*chat)["thinking_token_budget"] = (*thinking)["budget_tokens"];
    }
  } else if (type != "adaptive") {
    return InvalidField("thinking.type", "must be enabled, disabled or adaptive");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Json> ChatBodyOfMessages(absl::string_view body, MessagesUse use) {
  ASSIGN_OR_RETURN(const Json json, ParseJsonObject(body));
  FieldReader reader(json);
  Json chat = Json::object();
  for (const auto& [theirs, ours] : kSameFields) {
    if (const Json* value = reader.FindSet(theirs); value != nullptr) chat[ours] = *value;
  }
  if (use == MessagesUse::kAnswer && !chat.contains("max_tokens")) {
    return InvalidField("max_tokens", "is required");
  }
  Json messages = Json::array();
  if (const Json* system = reader.FindSet("system"); system != nullptr) {
    ASSIGN_OR_RETURN(std::string text, ReadTextBlocks(*system, "system"));
    messages.push_back({{"role", "system"}, {"content", std::move(text)}});
  }
  RETURN_IF_ERROR(ReadTurns(reader, &messages));
  chat["messages"] = std::move(messages);
  RETURN_IF_ERROR(ReadTools(reader, &chat));
  RETURN_IF_ERROR(ReadToolUse(reader, &chat));
  RETURN_IF_ERROR(ReadThinking(reader, &chat));
  for (const char* field : {"mcp_servers", "container"}) {
    const Json* value = reader.FindSet(field);
    if (value == nullptr || value->empty()) continue;
    return InvalidField(field, "is not supported by this server");
  }
  return chat;
}

}  // namespace baton::gateway
