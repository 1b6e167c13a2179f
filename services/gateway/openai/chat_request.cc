#include "services/gateway/openai/chat_request.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/json/field_reader.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {
namespace {

constexpr const char* kEfforts[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
constexpr const char* kPromptFields[] = {
    "messages",           "tools",     "add_generation_prompt", "continue_final_message",
    "add_special_tokens", "documents", "chat_template_kwargs",  "reasoning_effort"};

// The reasoning of an earlier turn under both of its names: templates know one or the other.
absl::Status NameReasoning(const std::string& field, Json& message) {
  constexpr const char* kNames[] = {"reasoning", "reasoning_content"};
  Json reasoning;
  for (const char* name : kNames) {
    const auto found = message.find(name);
    if (found == message.end() || found->is_null()) continue;
    if (!found->is_string()) {
      return InvalidField(absl::StrCat(field, ".", name),
                          absl::StrCat("must be a string, not ", DescribeJsonType(*found)));
    }
    if (reasoning.is_null()) reasoning = *found;
  }
  for (const char* name : kNames) {
    message.erase(name);
    if (!reasoning.is_null()) message[name] = reasoning;
  }
  return absl::OkStatus();
}

// Checks one message and brings it into the form that templates expect.
absl::Status NormaliseMessage(size_t index, Json& message) {
  const std::string field = absl::StrCat("messages[", index, "]");
  if (!message.is_object()) {
    return InvalidField(field, absl::StrCat("must be an object, not ", DescribeJsonType(message)));
  }
  if (!message.contains("role") || !message["role"].is_string()) {
    return InvalidField(field + ".role", "must be a string");
  }
  const std::string role = message["role"].get<std::string>();
  if (role == "developer") {
    message["role"] = "system";  // the newer name of the same role
  } else if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
    return InvalidField(field + ".role", absl::StrCat("must be system, developer, user, assistant "
                                                      "or tool, got \"",
                                                      role.substr(0, 64), "\""));
  }
  const bool has_tool_calls = message.contains("tool_calls") && message["tool_calls"].is_array() &&
                              !message["tool_calls"].empty();
  if (has_tool_calls) {
    RETURN_IF_ERROR(NormaliseToolCalls(field, message["tool_calls"]));
    // Templates take an empty content for an answer and would leave the calls out.
    if (message.contains("content") && message["content"] == "") message["content"] = nullptr;
  } else {
    message.erase("tool_calls");  // null and [] say the same
  }
  if (role == "assistant") RETURN_IF_ERROR(NameReasoning(field, message));
  if (!message.contains("content") || message["content"].is_null()) {
    if (role != "assistant") {
      return InvalidField(field + ".content", "must be a string or a list of text parts");
    }
    // An answer that ended inside its reasoning has no content, and comes back so. Templates take
    // the lack of one for calls.
    message["content"] = has_tool_calls ? Json(nullptr) : Json("");
    return absl::OkStatus();
  }
  Json& content = message["content"];
  ASSIGN_OR_RETURN(content, ReadContentText(content, field + ".content", "text"));
  return absl::OkStatus();
}

absl::Status ReadMessages(FieldReader& reader, const RequestValidator& validator, Json* messages) {
  const Json* value = reader.FindSet("messages");
  if (value == nullptr) return InvalidField("messages", "is required");
  if (!value->is_array()) {
    return InvalidField("messages", absl::StrCat("must be a list, not ", DescribeJsonType(*value)));
  }
  RETURN_IF_ERROR(validator.CheckMessageCount(value->size()));
  *messages = *value;
  for (size_t i = 0; i < messages->size(); ++i) {
    RETURN_IF_ERROR(NormaliseMessage(i, (*messages)[i]));
  }
  return absl::OkStatus();
}

void ReadLogprobs(FieldReader& reader, RequestedParams* params) {
  bool logprobs = false;
  std::optional<int64_t> num_top;
  reader.Read("logprobs", &logprobs);
  reader.Read("top_logprobs", &num_top);
  if (logprobs) {
    params->num_top_logprobs = num_top.value_or(0);
  } else if (num_top.value_or(0) != 0) {
    reader.Fail("top_logprobs", "needs logprobs=true");
  }
}

void ReadDocuments(FieldReader& reader, ChatInput* input) {
  const Json* documents = reader.FindSet("documents");
  if (documents == nullptr || (documents->is_array() && documents->empty())) return;
  const bool objects =
      documents->is_array() && std::all_of(documents->begin(), documents->end(),
                                           [](const Json& item) { return item.is_object(); });
  if (!objects) return reader.Fail("documents", "must be a list of objects");
  input->documents = *documents;
}

void ReadTemplateFields(FieldReader& reader, ChatInput* input) {
  std::optional<bool> add_generation_prompt;
  reader.Read("add_generation_prompt", &add_generation_prompt);
  reader.Read("continue_final_message", &input->continue_final_message);
  reader.Read("add_special_tokens", &input->add_special_tokens);
  if (input->continue_final_message && add_generation_prompt.value_or(false)) {
    reader.Fail("continue_final_message", "cannot be given with add_generation_prompt");
  }
  input->add_generation_prompt = add_generation_prompt.value_or(!input->continue_final_message);
  if (const Json* effort = reader.FindSet("reasoning_effort"); effort != nullptr) {
    if (std::find(std::begin(kEfforts), std::end(kEfforts), *effort) == std::end(kEfforts)) {
      reader.Fail("reasoning_effort",
                  absl::StrCat("must be one of ", absl::StrJoin(kEfforts, ", ")));
    }
    input->template_arguments["reasoning_effort"] = *effort;
  }
  ReadDocuments(reader, input);
  const Json* arguments = reader.FindSet("chat_template_kwargs");
  if (arguments == nullptr) return;
  if (!arguments->is_object()) {
    return reader.Fail("chat_template_kwargs",
                       absl::StrCat("must be an object, not ", DescribeJsonType(*arguments)));
  }
  for (const auto& [key, value] : *arguments->get_ptr<const Json::object_t*>()) {
    input->template_arguments[key] = value;
  }
}

// The answer repeats what it goes on with, if that is the assistant's.
void ReadEcho(FieldReader& reader, ChatRequest* request) {
  bool echo = false;
  reader.Read("echo", &echo);
  const Json& last = request->input.messages.back();
  if (!echo || last["role"] != "assistant" || !last["content"].is_string()) return;
  request->echoed = last["content"].get<std::string>();
}

}  // namespace

absl::Span<const char* const> PromptFields() { return kPromptFields; }

absl::StatusOr<std::string> ReadContentText(const Json& content, const std::string& field,
                                            absl::string_view type) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    return InvalidField(field, absl::StrCat("must be a string or a list of text parts, not ",
                                            DescribeJsonType(content)));
  }
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    ASSIGN_OR_RETURN(const std::string piece,
                     ReadTextPart(content[i], absl::StrCat(field, "[", i, "]"), type));
    absl::StrAppend(&text, i == 0 ? "" : "\n", piece);
  }
  return text;
}

absl::StatusOr<std::string> ReadTextPart(const Json& part, const std::string& field,
                                         absl::string_view type) {
  const bool is_text = part.is_object() && part.contains("text") && part["text"].is_string() &&
                       (type.empty() || part.value("type", Json()) == Json(type));
  if (!is_text) {
    return InvalidField(field, "must be a part that holds text: this model reads text");
  }
  return part["text"].get<std::string>();
}

absl::StatusOr<ChatRequest> ParseChatRequest(absl::string_view body,
                                             const RequestValidator& validator) {
  ASSIGN_OR_RETURN(const Json json, ParseBody(body, validator.caps()));
  return ReadChatRequest(json, validator);
}

absl::StatusOr<ChatRequest> ReadChatRequest(const Json& body, const RequestValidator& validator) {
  FieldReader reader(body);
  ChatRequest request;
  reader.Read("model", &request.model);
  RETURN_IF_ERROR(ReadMessages(reader, validator, &request.input.messages));
  ReadTemplateFields(reader, &request.input);
  ReadSamplingFields(reader, &request.params);
  reader.Read("max_tokens", &request.params.max_tokens);
  if (reader.FindSet("max_completion_tokens") != nullptr) {
    reader.Read("max_completion_tokens", &request.params.max_tokens);
    request.params.max_tokens_field = "max_completion_tokens";
  }
  ReadLogprobs(reader, &request.params);
  request.tools = ReadToolFields(reader, validator.caps());
  request.input.tools = request.tools.tools;
  request.stream = ReadStreamFields(reader, validator.caps());
  request.output = ReadOutputFields(reader);
  reader.Read("include_reasoning", &request.include_reasoning);
  if (request.stream.stream && request.params.num_prompt_logprobs) {
    reader.Fail("prompt_logprobs", "cannot be given with stream=true");
  }
  ReadEcho(reader, &request);
  reader.Read("return_prompt_text", &request.return_prompt_text);
  request.request_id = ReadRequestId(reader, validator.caps());
  RefuseUnsupportedFields(reader, FieldApi::kChat, validator.caps());
  RETURN_IF_ERROR(reader.status());
  LogIgnoredFields(reader, "chat completion");
  return request;
}

}  // namespace baton::gateway
