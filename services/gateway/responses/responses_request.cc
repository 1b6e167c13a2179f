#include "services/gateway/responses/responses_request.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/json/field_reader.h"
#include "services/gateway/responses/responses_fields.h"

namespace baton::gateway {
namespace {

std::string TypeOfItem(const Json& item) {
  if (!item.contains("type")) return "message";
  return item["type"].is_string() ? item["type"].get<std::string>() : "";
}

// The assistant's turn that the item belongs to: calls, texts and reasoning in a row are one.
Json& AssistantTurn(Json* messages) {
  if (messages->empty() || messages->back()["role"] != "assistant") {
    messages->push_back({{"role", "assistant"}, {"content", nullptr}});
  }
  return messages->back();
}

absl::Status AppendMessage(const Json& item, const std::string& field, Json* messages) {
  const Json role = item.contains("role") ? item["role"] : Json(nullptr);
  if (!role.is_string()) return InvalidField(field + ".role", "must be a string");
  const Json content = item.contains("content") ? item["content"] : Json(nullptr);
  ASSIGN_OR_RETURN(std::string text, ReadContentText(content, field + ".content", ""));
  if (role != "assistant") {
    messages->push_back({{"role", role}, {"content", std::move(text)}});
    return absl::OkStatus();
  }
  AppendText(text, &AssistantTurn(messages)["content"]);
  return absl::OkStatus();
}

absl::Status AppendItem(const Json& item, const std::string& field, ChatTranslation* out) {
  if (!item.is_object()) return InvalidField(field, "must be an object");
  Json* const messages = &out->chat["messages"];
  const std::string type = TypeOfItem(item);
  if (type == "message") return AppendMessage(item, field, messages);
  if (type == "function_call") {
    Json& calls = AssistantTurn(messages)["tool_calls"];
    out->names.emplace_back(absl::StrCat("messages[", messages->size() - 1, "].tool_calls[",
                                         calls.size(), "].function"),
                            field);
    calls.push_back(
        {{"id", item.value("call_id", Json())},
         {"type", "function"},
         {"function",
          {{"name", item.value("name", Json())}, {"arguments", item.value("arguments", Json())}}}});
    return absl::OkStatus();
  }
  if (type == "function_call_output") {
    const Json output = item.contains("output") ? item["output"] : Json(nullptr);
    ASSIGN_OR_RETURN(std::string text, ReadContentText(output, field + ".output", ""));
    messages->push_back({{"role", "tool"},
                         {"tool_call_id", item.value("call_id", Json())},
                         {"content", std::move(text)}});
    return absl::OkStatus();
  }
  if (type == "reasoning") {
    const Json content = item.contains("content") ? item["content"] : Json::array();
    if (content.is_null()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::string text, ReadContentText(content, field + ".content", ""));
    AppendText(text, &AssistantTurn(messages)["reasoning_content"]);
    return absl::OkStatus();
  }
  return InvalidField(field + ".type",
                      "must be message, function_call, function_call_output or reasoning");
}

absl::Status ReadInput(FieldReader& reader, ChatTranslation* out) {
  const Json* input = reader.FindSet("input");
  if (input == nullptr) return InvalidField("input", "is required");
  Json& messages = out->chat["messages"];
  if (input->is_string()) {
    messages.push_back({{"role", "user"}, {"content", *input}});
    return absl::OkStatus();
  }
  if (!input->is_array() || input->empty()) {
    return InvalidField("input", "must be a string or a list of at least one item");
  }
  for (size_t i = 0; i < input->size(); ++i) {
    const std::string field = absl::StrCat("input[", i, "]");
    const size_t next = messages.size();
    RETURN_IF_ERROR(AppendItem((*input)[i], field, out));
    if (messages.size() == next) continue;  // it belongs to the turn before
    out->names.emplace_back(absl::StrCat("messages[", next, "]"), field);
  }
  // Reasoning alone is no turn.
  for (Json& message : messages) {
    const bool empty = message["content"].is_null() && !message.contains("tool_calls");
    if (empty) message["content"] = "";
  }
  return absl::OkStatus();
}

// Functions stand one level deeper in a chat completion.
absl::Status ReadTools(FieldReader& reader, ChatTranslation* out) {
  Json* const chat = &out->chat;
  const Json* tools = reader.FindSet("tools");
  if (tools != nullptr && !tools->is_array()) return InvalidField("tools", "must be a list");
  if (tools != nullptr && !tools->empty()) {
    Json& list = (*chat)["tools"] = Json::array();
    for (size_t i = 0; i < tools->size(); ++i) {
      const Json& tool = (*tools)[i];
      const std::string field = absl::StrCat("tools[", i, "]");
      if (!tool.is_object() || TypeOfItem(tool) != "function") {
        return InvalidField(field + ".type",
                            "must be \"function\": this server runs no tools of its own");
      }
      Json function = tool;
      function.erase("type");
      list.push_back({{"type", "function"}, {"function", std::move(function)}});
      out->names.emplace_back(field + ".function", field);
    }
  }
  const Json* choice = reader.FindSet("tool_choice");
  if (choice == nullptr || (*choice == "auto" && !chat->contains("tools"))) return absl::OkStatus();
  if (choice->is_string()) {
    (*chat)["tool_choice"] = *choice;
  } else {
    (*chat)["tool_choice"] = {
        {"type", "function"},
        {"function", {{"name", choice->is_object() ? choice->value("name", Json()) : Json()}}}};
  }
  return absl::OkStatus();
}

absl::Status ReadText(FieldReader& reader, ChatTranslation* out) {
  const Json* text = reader.FindSet("text");
  if (text == nullptr) return absl::OkStatus();
  if (!text->is_object()) return InvalidField("text", "must be an object");
  FieldReader inner(*text);
  const Json* format = inner.FindSet("format");
  if (format == nullptr) return absl::OkStatus();
  if (format->is_object() && TypeOfItem(*format) == "json_schema") {
    Json schema = *format;
    schema.erase("type");
    if (!schema.contains("schema")) return InvalidField("text.format.schema", "is required");
    out->Set("response_format", "text.format",
             {{"type", "json_schema"}, {"json_schema", std::move(schema)}});
  } else {
    out->Set("response_format", "text.format", *format);
  }
  return absl::OkStatus();
}

absl::Status ReadReasoning(FieldReader& reader, ChatTranslation* out) {
  const Json* reasoning = reader.FindSet("reasoning");
  if (reasoning == nullptr) return absl::OkStatus();
  if (!reasoning->is_object()) return InvalidField("reasoning", "must be an object");
  FieldReader inner(*reasoning);
  if (const Json* effort = inner.FindSet("effort"); effort != nullptr) {
    out->Set("reasoning_effort", "reasoning.effort", *effort);
  }
  return absl::OkStatus();
}

// "store" is answered with false: official clients ask for it unless told otherwise.
Json EchoedFields(const Json& body) {
  const auto given = [&body](const char* name, Json otherwise) {
    const auto found = body.find(name);
    return found == body.end() || found->is_null() ? std::move(otherwise) : Json(*found);
  };
  return {{"instructions", given("instructions", nullptr)},
          {"max_output_tokens", given("max_output_tokens", nullptr)},
          {"metadata", given("metadata", Json::object())},
          {"parallel_tool_calls", given("parallel_tool_calls", true)},
          {"previous_response_id", nullptr},
          {"reasoning", given("reasoning", Json{{"effort", nullptr}, {"summary", nullptr}})},
          {"service_tier", "auto"},
          {"store", false},
          {"temperature", given("temperature", nullptr)},
          {"text", given("text", Json{{"format", {{"type", "text"}}}})},
          {"tool_choice", given("tool_choice", "auto")},
          {"tools", given("tools", Json::array())},
          {"top_p", given("top_p", nullptr)},
          {"truncation", "disabled"},
          {"user", given("user", nullptr)}};
}

}  // namespace

absl::StatusOr<ResponsesRequest> ParseResponsesRequest(absl::string_view body,
                                                       const RequestCaps& caps) {
  ASSIGN_OR_RETURN(const Json json, ParseBody(body, caps));
  FieldReader reader(json);
  ResponsesRequest request;
  ChatTranslation& out = request.translation;
  TakeRenamedFields(reader, ResponsesApi(), &out);
  out.chat["messages"] = Json::array();
  out.names.emplace_back("messages", "input");
  std::string instructions;
  reader.Read("instructions", &instructions);
  RETURN_IF_ERROR(reader.status());
  if (!instructions.empty()) {
    out.chat["messages"].push_back({{"role", "system"}, {"content", std::move(instructions)}});
    out.names.emplace_back("messages[0]", "instructions");
  }
  RETURN_IF_ERROR(ReadInput(reader, &out));
  RETURN_IF_ERROR(ReadTools(reader, &out));
  RETURN_IF_ERROR(ReadText(reader, &out));
  RETURN_IF_ERROR(ReadReasoning(reader, &out));
  RETURN_IF_ERROR(RefuseFields(reader, ResponsesApi().unsupported));
  RETURN_IF_ERROR(RefuseFields(reader, FieldsOfChatAnswers()));
  RETURN_IF_ERROR(TakeChatFields(reader, "/v1/responses", &out));
  request.echoed = EchoedFields(json);
  return request;
}

}  // namespace baton::gateway
