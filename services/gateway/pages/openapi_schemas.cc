#include "services/gateway/pages/openapi_schemas.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "services/gateway/admission/request_validator.h"
#include "services/gateway/openai/field_table.h"

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

// What the table of chat completions does not have, or has under another name.
constexpr char kOwnFields[] = R"json({
  "responses": {
    "input": {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items":
      {"type": "object", "properties": {"type": {"enum": ["message", "function_call",
        "function_call_output", "reasoning"]}, "role": {"type": "string"},
        "content": {"anyOf": [{"type": "string"}, {"type": "array"}, {"type": "null"}]}}}}]},
    "instructions": {"type": "string", "description": "a system message before the input"},
    "tools": {"type": "array", "items": {"type": "object", "required": ["type", "name"],
      "properties": {"type": {"const": "function"}, "name": {"type": "string"},
        "description": {"type": "string"}, "parameters": {"type": "object"}}}},
    "tool_choice": {"anyOf": [{"enum": ["none", "auto", "required"]}, {"type": "object",
      "required": ["type", "name"], "properties": {"type": {"const": "function"},
        "name": {"type": "string"}}}]},
    "text": {"type": "object", "properties": {"format": {"type": "object", "required": ["type"],
      "properties": {"type": {"enum": ["text", "json_object", "json_schema"]},
        "name": {"type": "string"}, "schema": {"type": "object"}}}}},
    "reasoning": {"type": "object", "properties": {"effort": {"enum":
      ["none", "minimal", "low", "medium", "high", "xhigh", "max", null]}}},
    "store": {"type": "boolean", "description": "nothing is kept; answered with false"},
    "metadata": {"type": "object", "description": "comes back"},
    "previous_response_id": {"type": "null", "description": "not supported: nothing is kept"},
    "conversation": {"type": "null", "description": "not supported: nothing is kept"},
    "background": {"const": false, "description": "not supported: nothing is kept"},
    "prompt": {"type": "null", "description": "not supported: nothing is kept"},
    "include": {"type": "array", "maxItems": 0, "description": "not supported"},
    "top_logprobs": {"const": 0, "description": "not supported"},
    "max_tool_calls": {"type": "null", "description": "not supported: no tools are run here"},
    "truncation": {"const": "disabled", "description": "not supported"}
  },
  "messages": {
    "messages": {"type": "array", "minItems": 1, "items": {"type": "object",
      "required": ["role", "content"], "properties": {"role": {"enum": ["user", "assistant"]},
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object",
          "required": ["type"], "properties": {"type": {"enum": ["text", "thinking",
            "redacted_thinking", "tool_use", "tool_result"]}}}}]}}}},
    "system": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object",
      "required": ["type", "text"], "properties": {"type": {"const": "text"},
        "text": {"type": "string"}}}}]},
    "tools": {"type": "array", "items": {"type": "object", "required": ["name"],
      "properties": {"type": {"const": "custom"}, "name": {"type": "string"},
        "description": {"type": "string"}, "input_schema": {"type": "object"}}}},
    "tool_choice": {"type": "object", "required": ["type"], "properties": {
      "type": {"enum": ["auto", "any", "tool", "none"]}, "name": {"type": "string"},
      "disable_parallel_tool_use": {"type": "boolean"}}},
    "thinking": {"type": "object", "required": ["type"], "properties": {
      "type": {"enum": ["enabled", "disabled", "adaptive"]},
      "budget_tokens": {"type": "integer", "minimum": -1},
      "display": {"enum": ["summarized", "omitted"]}}},
    "output_config": {"type": "object", "properties": {"effort": {"type": "string"},
      "format": {"type": "object", "required": ["type", "schema"], "properties": {
        "type": {"const": "json_schema"}, "schema": {"type": "object"}}}}},
    "output_format": {"type": "object", "description": "former name of output_config.format",
      "required": ["type", "schema"], "properties": {"type": {"const": "json_schema"},
        "schema": {"type": "object"}}},
    "cache_control": {"type": "object", "description": "no answer depends on it"},
    "metadata": {"type": "object", "description": "no answer depends on it"},
    "mcp_servers": {"type": "array", "maxItems": 0,
      "description": "not supported: this server runs no tools of its own"},
    "container": {"type": "null",
      "description": "not supported: this server runs no tools of its own"}
  },
  "tokenize": {
    "prompt": {"type": "string", "description": "or messages"},
    "return_token_strs": {"type": "boolean"}
  }
})json";

// Fields of other APIs that a field of chat completions stands for.
struct SameField {
  const char* name;
  const char* of_chat;
};
constexpr SameField kOfResponses[] = {{"model", "model"},
                                      {"max_output_tokens", "max_completion_tokens"},
                                      {"stream", "stream"},
                                      {"temperature", "temperature"},
                                      {"top_p", "top_p"},
                                      {"top_k", "top_k"},
                                      {"seed", "seed"},
                                      {"parallel_tool_calls", "parallel_tool_calls"},
                                      {"user", "user"},
                                      {"priority", "priority"},
                                      {"cache_salt", "cache_salt"}};
constexpr SameField kOfMessages[] = {
    {"model", "model"},   {"max_tokens", "max_tokens"},   {"stop_sequences", "stop"},
    {"stream", "stream"}, {"temperature", "temperature"}, {"top_p", "top_p"},
    {"top_k", "top_k"}};
constexpr SameField kOfTokenize[] = {{"model", "model"},
                                     {"messages", "messages"},
                                     {"tools", "tools"},
                                     {"add_generation_prompt", "add_generation_prompt"},
                                     {"continue_final_message", "continue_final_message"},
                                     {"add_special_tokens", "add_special_tokens"},
                                     {"reasoning_effort", "reasoning_effort"},
                                     {"chat_template_kwargs", "chat_template_kwargs"}};

Json FieldSchema(const FieldRow& row) {
  Json schema = Json::parse(row.schema);
  if (row.outcome == FieldOutcome::kRefused) {
    schema["description"] = absl::StrCat("not supported: ", row.note);
  } else if (!row.note.empty()) {
    schema["description"] = row.note;
  }
  return schema;
}

Json FieldsOf(FieldApi api) {
  Json properties = Json::object();
  for (const FieldRow& row : FieldTable()) {
    if (row.BelongsTo(api)) properties[row.name] = FieldSchema(row);
  }
  return properties;
}

Json RequestSchema(Json properties, Json required) {
  return {
      {"type", "object"}, {"required", std::move(required)}, {"properties", std::move(properties)}};
}

// `own` and what is the same as in `chat`, the fields of chat completions.
Json Merged(Json own, absl::Span<const SameField> same, const Json& chat) {
  for (const SameField& field : same) own[field.name] = chat.at(field.of_chat);
  return own;
}

// Conversations in place of messages; no streams, no tools, one choice each.
Json BatchFields(Json fields) {
  for (const char* name : {"tools", "tool_choice", "parallel_tool_calls"}) fields.erase(name);
  Json conversation = std::move(fields["messages"]);
  fields["messages"] = {{"type", "array"},
                        {"minItems", 1},
                        {"maxItems", RequestCaps().prompts},
                        {"items", std::move(conversation)}};
  fields["stream"] = {{"const", false}};
  fields["n"] = {{"const", 1}};
  return fields;
}

}  // namespace

Json OpenApiSchemas() {
  Json schemas = Json::parse(kAnswers);
  schemas.update(Json::parse(kErrors));
  const Json own = Json::parse(kOwnFields);
  const Json chat = FieldsOf(FieldApi::kChat);
  schemas["ChatRequest"] = RequestSchema(chat, {"messages"});
  schemas["ChatBatchRequest"] = RequestSchema(BatchFields(chat), {"messages"});
  schemas["CompletionRequest"] = RequestSchema(FieldsOf(FieldApi::kCompletion), {"prompt"});
  schemas["ResponsesRequest"] =
      RequestSchema(Merged(own["responses"], kOfResponses, chat), {"input"});
  const Json messages = Merged(own["messages"], kOfMessages, chat);
  schemas["MessagesRequest"] = RequestSchema(messages, {"messages", "max_tokens"});
  schemas["CountTokensRequest"] = RequestSchema(messages, {"messages"});
  schemas["TokenizeRequest"] =
      RequestSchema(Merged(own["tokenize"], kOfTokenize, chat), Json::array());
  schemas["TokenizeRequest"]["anyOf"] = {{{"required", {"prompt"}}}, {{"required", {"messages"}}}};
  schemas["DetokenizeRequest"] = RequestSchema(
      {{"model", chat["model"]},
       {"tokens", {{"type", "array"}, {"items", {{"type", "integer"}, {"minimum", 0}}}}}},
      {"tokens"});
  return schemas;
}

}  // namespace baton::gateway
