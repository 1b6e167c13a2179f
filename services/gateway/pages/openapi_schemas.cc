#include "services/gateway/pages/openapi_schemas.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "services/gateway/anthropic/messages_fields.h"
#include "services/gateway/openai/chat_request.h"
#include "services/gateway/openai/chat_translation.h"
#include "services/gateway/openai/field_table.h"
#include "services/gateway/responses/responses_fields.h"

namespace baton::gateway {
namespace {

constexpr char kErrors[] = R"json({
  "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "object",
    "required": ["message", "type", "param", "code"], "properties": {
      "message": {"type": "string"},
      "type": {"enum": ["invalid_request_error", "authentication_error", "permission_error",
        "rate_limit_error", "service_unavailable_error", "timeout_error", "server_error"]},
      "param": {"type": ["string", "null"], "description": "the field that is refused"},
      "code": {"type": ["string", "null"]}}}}},
  "AnthropicError": {"type": "object", "required": ["type", "error"], "properties": {
    "type": {"const": "error"}, "error": {"type": "object", "required": ["type", "message"],
      "properties": {"message": {"type": "string"},
        "type": {"enum": ["invalid_request_error", "authentication_error", "permission_error",
          "not_found_error", "request_too_large", "rate_limit_error", "overloaded_error",
          "timeout_error", "api_error"]}}}}}
})json";

constexpr char kAnswers[] = R"json({
  "Object": {"type": "object"},
  "Usage": {"type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
    "properties": {"prompt_tokens": {"type": "integer"}, "completion_tokens": {"type": "integer"},
      "total_tokens": {"type": "integer"}}},
  "ChatAnswer": {"type": "object", "required": ["id", "object", "created", "model", "choices",
    "usage"], "properties": {"id": {"type": "string"}, "object": {"const": "chat.completion"},
    "created": {"type": "integer"}, "model": {"type": "string"},
    "choices": {"type": "array", "items": {"type": "object",
      "required": ["index", "message", "finish_reason"], "properties": {
        "index": {"type": "integer"}, "finish_reason": {"type": "string"},
        "message": {"type": "object", "required": ["role", "content"], "properties": {
          "role": {"const": "assistant"}, "content": {"type": ["string", "null"]},
          "reasoning_content": {"type": ["string", "null"]},
          "tool_calls": {"type": "array", "items": {"type": "object"}}}}}}},
    "usage": {"$ref": "#/components/schemas/Usage"}}},
  "CompletionAnswer": {"type": "object", "required": ["id", "object", "created", "model",
    "choices", "usage"], "properties": {"id": {"type": "string"},
    "object": {"const": "text_completion"}, "created": {"type": "integer"},
    "model": {"type": "string"}, "choices": {"type": "array", "items":
      {"type": "object", "required": ["index", "text", "finish_reason"], "properties": {
        "index": {"type": "integer"}, "text": {"type": "string"},
        "finish_reason": {"type": "string"}}}},
    "usage": {"$ref": "#/components/schemas/Usage"}}},
  "ResponsesAnswer": {"type": "object", "required": ["id", "object", "status", "output", "usage"],
    "properties": {"object": {"const": "response"}, "status": {"type": "string"},
      "output": {"type": "array", "items": {"type": "object", "required": ["type"]}}}},
  "MessagesAnswer": {"type": "object", "required": ["id", "type", "role", "content",
    "stop_reason", "usage"], "properties": {"type": {"const": "message"},
      "role": {"const": "assistant"},
      "content": {"type": "array", "items": {"type": "object", "required": ["type"]}}}},
  "TokenCount": {"type": "object", "required": ["input_tokens"], "properties":
    {"input_tokens": {"type": "integer"}}},
  "Model": {"type": "object", "required": ["id", "object", "created", "owned_by",
    "max_model_len"], "properties": {"id": {"type": "string"}, "object": {"const": "model"},
    "created": {"type": "integer"}, "max_model_len": {"type": "integer"}}},
  "ModelList": {"type": "object", "required": ["object", "data"], "properties":
    {"object": {"const": "list"},
     "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}}},
  "Tokens": {"type": "object", "required": ["count", "max_model_len", "tokens"], "properties":
    {"count": {"type": "integer"}, "max_model_len": {"type": "integer"},
     "tokens": {"type": "array", "items": {"type": "integer"}}}},
  "Text": {"type": "object", "required": ["prompt"], "properties": {"prompt": {"type": "string"}}},
  "Load": {"type": "object", "required": ["server_load"], "properties":
    {"server_load": {"type": "integer"}}},
  "Version": {"type": "object", "required": ["version"], "properties":
    {"version": {"type": "string"}}}
})json";

constexpr char kTokenizeFields[] = R"json({
  "model": {"type": "string"},
  "prompt": {"type": "string", "description": "or messages"},
  "return_token_strs": {"type": "boolean"}
})json";

// The values of `neutrals`, a list, are all that is taken.
Json OnlyNeutral(Json neutrals, absl::string_view why) {
  return {{"enum", std::move(neutrals)},
          {"description", absl::StrCat("not supported", why.empty() ? "" : ": ", why)}};
}

Json FieldSchema(const FieldRow& row) {
  if (row.outcome == FieldOutcome::kRefused) {
    return OnlyNeutral(Json::array({Json::parse(row.neutral)}), row.note);
  }
  Json schema = Json::parse(row.schema);
  if (!row.note.empty()) schema["description"] = row.note;
  return schema;
}

// All but what is always refused.
Json FieldsOf(FieldApi api, absl::Span<const FieldRow> rows) {
  Json properties = Json::object();
  for (const FieldRow& row : rows) {
    const bool always = row.outcome == FieldOutcome::kRefused && *row.neutral == '\0';
    if (row.BelongsTo(api) && !always) properties[row.name] = FieldSchema(row);
  }
  return properties;
}

Json RequestSchema(Json properties, Json required) {
  return {
      {"type", "object"}, {"required", std::move(required)}, {"properties", std::move(properties)}};
}

// Leaves of these fields the values that ask for nothing.
void Restrict(absl::Span<const UnsupportedField> fields, Json* properties) {
  for (const UnsupportedField& field : fields) {
    std::pair<std::string, std::string> path = absl::StrSplit(field.name, absl::MaxSplits('.', 1));
    Json* members = properties;
    if (!path.second.empty()) {
      members = &(*properties)[path.first]["properties"];
      path.first = path.second;
    }
    const Json neutrals = Json::parse(field.neutrals);
    if (neutrals.empty()) {
      members->erase(path.first);
    } else {
      (*members)[path.first] = OnlyNeutral(neutrals, field.reason);
    }
  }
}

// The fields that `chat` has which the prompt depends on.
Json OfPrompt(const Json& chat) {
  Json properties = Json::object();
  for (const char* name : PromptFields()) properties[name] = chat.at(name);
  return properties;
}

// Those of `api` and, under their own names, those of `others`, a part of `chat`.
Json TranslatedFields(const TranslatedApi& api, const Json& chat, const Json& others) {
  Json properties = Json::object();
  for (const OwnField& field : api.own) properties[field.name] = Json::parse(field.schema);
  for (const auto& [theirs, ours] : api.renamed) {
    if (others.contains(ours)) properties[theirs] = chat.at(ours);
  }
  for (const auto& [name, schema] : others.items()) {
    if (!properties.contains(name)) properties[name] = schema;
  }
  Restrict(api.unsupported, &properties);
  return properties;
}

// What asks for an answer.
Json TranslatedFields(const TranslatedApi& api, const Json& chat) {
  Json properties = TranslatedFields(api, chat, chat);
  Restrict(FieldsOfChatAnswers(), &properties);
  return properties;
}

// Conversations in place of messages.
Json BatchFields(Json fields, const RequestCaps& caps) {
  Json conversation = std::move(fields["messages"]);
  fields["messages"] = {{"type", "array"},
                        {"minItems", 1},
                        {"maxItems", caps.prompts},
                        {"items", std::move(conversation)}};
  Restrict(FieldsRefusedInBatches(), &fields);
  return fields;
}

}  // namespace

Json OpenApiSchemas(const RequestCaps& caps) {
  const std::vector<FieldRow> rows = FieldRowsOf(caps);
  Json schemas = Json::parse(kAnswers);
  schemas.update(Json::parse(kErrors));
  const Json chat = FieldsOf(FieldApi::kChat, rows);
  schemas["ChatRequest"] = RequestSchema(chat, {"messages"});
  schemas["ChatBatchRequest"] = RequestSchema(BatchFields(chat, caps), {"messages"});
  schemas["CompletionRequest"] = RequestSchema(FieldsOf(FieldApi::kCompletion, rows), {"prompt"});
  schemas["ResponsesRequest"] = RequestSchema(TranslatedFields(ResponsesApi(), chat), {"input"});
  schemas["MessagesRequest"] =
      RequestSchema(TranslatedFields(MessagesApi(), chat), {"messages", "max_tokens"});
  const Json prompt = OfPrompt(chat);
  Json counted = prompt;
  counted["model"] = chat["model"];
  schemas["CountTokensRequest"] =
      RequestSchema(TranslatedFields(MessagesApi(), chat, counted), {"messages"});
  Json tokenized = Json::parse(kTokenizeFields);
  tokenized.update(prompt);
  schemas["TokenizeRequest"] = RequestSchema(std::move(tokenized), Json::array());
  schemas["TokenizeRequest"]["anyOf"] = {{{"required", {"prompt"}}}, {{"required", {"messages"}}}};
  schemas["DetokenizeRequest"] = RequestSchema(
      {{"model", chat["model"]},
       {"tokens", {{"type", "array"}, {"items", {{"type", "integer"}, {"minimum", 0}}}}}},
      {"tokens"});
  return schemas;
}

}  // namespace baton::gateway
