#include "services/gateway/pages/openapi_document.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "common/config/release.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/openai/field_table.h"

namespace baton::gateway {
namespace {

struct Operation {
  const char* path;
  const char* method;
  const char* summary;
  const char* body;    // schema of the request; empty: none
  const char* answer;  // schema of the JSON that 200 has; empty: another type
  const char* type;    // of the answer
  bool guarded;        // needs an API key if there are any
};

constexpr char kJsonType[] = "application/json";
constexpr Operation kOperations[] = {
    {"/v1/chat/completions", "post", "Answer a conversation", "ChatRequest", "ChatAnswer",
     kJsonType, true},
    {"/v1/chat/completions/batch", "post", "Answer several conversations", "ChatBatchRequest",
     "ChatAnswer", kJsonType, true},
    {"/v1/completions", "post", "Continue texts", "CompletionRequest", "CompletionAnswer",
     kJsonType, true},
    {"/v1/responses", "post", "Answer, as OpenAI's Responses API; nothing is stored",
     "ResponsesRequest", "ResponsesAnswer", kJsonType, true},
    {"/v1/messages", "post", "Answer, as Anthropic's Messages API", "MessagesRequest",
     "MessagesAnswer", kJsonType, true},
    {"/v1/messages/count_tokens", "post", "Tokens of a prompt", "MessagesRequest", "TokenCount",
     kJsonType, true},
    {"/v1/models", "get", "Models that are served", "", "ModelList", kJsonType, true},
    {"/tokenize", "post", "Text or conversation to token ids", "TokenizeRequest", "Tokens",
     kJsonType, true},
    {"/detokenize", "post", "Token ids to text", "DetokenizeRequest", "Text", kJsonType, true},
    {"/tokenizer_info", "get", "The tokenizer and its template, if the server shows them", "",
     "Object", kJsonType, true},
    {"/load", "get", "Sequences that run or wait", "", "Load", kJsonType, true},
    {"/version", "get", "Release of the server", "", "Version", kJsonType, false},
    {"/health", "get", "200 while tokens can be produced", "", "", "", false},
    {"/health/live", "get", "200 while the process makes progress", "", "Object", kJsonType, false},
    {"/health/ready", "get", "200 while new requests are answered", "", "Object", kJsonType, false},
    {"/ping", "get", "As /health", "", "", "", false},
    {"/metrics", "get", "Prometheus' text format", "", "", "text/plain", false},
};

constexpr char kSchemas[] = R"json({
  "Object": {"type": "object"},
  "Error": {"type": "object"},
  "Usage": {"type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens"]},
  "ChatAnswer": {"type": "object", "required": ["id", "object", "created", "model", "choices",
    "usage"], "properties": {"id": {"type": "string"}, "object": {"const": "chat.completion"},
    "choices": {"type": "array", "items": {"type": "object",
      "required": ["index", "message", "finish_reason"]}},
    "usage": {"$ref": "#/components/schemas/Usage"}}},
  "CompletionAnswer": {"type": "object", "required": ["id", "object", "created", "model",
    "choices", "usage"], "properties": {"id": {"type": "string"},
    "object": {"const": "text_completion"}, "choices": {"type": "array", "items":
      {"type": "object", "required": ["index", "text", "finish_reason"]}},
    "usage": {"$ref": "#/components/schemas/Usage"}}},
  "ChatBatchRequest": {"type": "object", "required": ["messages"], "properties": {"messages":
    {"type": "array", "minItems": 1, "maxItems": 64, "items": {"type": "array"}}}},
  "ResponsesRequest": {"type": "object", "required": ["input"], "properties": {"input": {"anyOf":
    [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
    "model": {"type": "string"}, "instructions": {"type": "string"},
    "max_output_tokens": {"type": "integer", "minimum": 1}, "stream": {"type": "boolean"},
    "temperature": {"type": "number"}, "top_p": {"type": "number"},
    "tools": {"type": "array", "items": {"type": "object"}}}},
  "ResponsesAnswer": {"type": "object", "required": ["id", "object", "status", "output", "usage"],
    "properties": {"object": {"const": "response"}, "output": {"type": "array"}}},
  "MessagesRequest": {"type": "object", "required": ["messages", "max_tokens"], "properties":
    {"model": {"type": "string"}, "max_tokens": {"type": "integer", "minimum": 1},
    "messages": {"type": "array", "minItems": 1, "items": {"type": "object"}},
    "system": {"type": "string"}, "stream": {"type": "boolean"},
    "stop_sequences": {"type": "array", "items": {"type": "string"}}}},
  "MessagesAnswer": {"type": "object", "required": ["id", "type", "role", "content",
    "stop_reason", "usage"], "properties": {"type": {"const": "message"}}},
  "TokenCount": {"type": "object", "required": ["input_tokens"], "properties":
    {"input_tokens": {"type": "integer"}}},
  "ModelList": {"type": "object", "required": ["object", "data"], "properties":
    {"data": {"type": "array", "items": {"type": "object", "required": ["id", "max_model_len"]}}}},
  "TokenizeRequest": {"type": "object", "properties": {"model": {"type": "string"},
    "prompt": {"type": "string"}, "messages": {"type": "array", "items": {"type": "object"}},
    "add_special_tokens": {"type": "boolean"}, "return_token_strs": {"type": "boolean"}}},
  "Tokens": {"type": "object", "required": ["count", "max_model_len", "tokens"], "properties":
    {"count": {"type": "integer"}, "tokens": {"type": "array", "items": {"type": "integer"}}}},
  "DetokenizeRequest": {"type": "object", "required": ["tokens"], "properties":
    {"model": {"type": "string"}, "tokens": {"type": "array", "items": {"type": "integer",
    "minimum": 0}}}},
  "Text": {"type": "object", "required": ["prompt"], "properties": {"prompt": {"type": "string"}}},
  "Load": {"type": "object", "required": ["server_load"], "properties":
    {"server_load": {"type": "integer"}}},
  "Version": {"type": "object", "required": ["version"]}
})json";

constexpr char kDocsPage[] = R"page(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Baton: API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 0 auto; padding: 1em; }
code { font-family: ui-monospace, monospace; }
details { border-top: 1px solid #8884; padding: .5em 0; }
summary { cursor: pointer; }
table { border-collapse: collapse; width: 100%; font-size: .9em; }
td { border-top: 1px solid #8883; padding: .2em .6em .2em 0; vertical-align: top; }
</style></head><body><h1>Baton</h1><p><a href="openapi.json">openapi.json</a>,
<a href="./">chat</a></p><main id="list"></main><script>
'use strict';
function add(parent, tag, text) {
  const made = document.createElement(tag);
  made.textContent = text || '';
  return parent.appendChild(made);
}
fetch('openapi.json').then((answer) => answer.json()).then((document_) => {
  const list = document.getElementById('list'), schemas = document_.components.schemas;
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const details = add(list, 'details'), summary = add(details, 'summary');
      add(summary, 'code', method.toUpperCase() + ' ' + path);
      add(summary, 'span', ' ' + operation.summary);
      if (!operation.requestBody) continue;
      const reference = operation.requestBody.content['application/json'].schema.$ref;
      const schema = schemas[reference.split('/').pop()], table = add(details, 'table');
      for (const [name, field] of Object.entries(schema.properties || {})) {
        const row = add(table, 'tr');
        add(add(row, 'td'), 'code', name);
        add(row, 'td', field.description || field.type || '');
      }
    }
  }
});
</script></body></html>
)page";

Json RequestSchema(FieldApi api, const char* required) {
  Json properties = Json::object();
  for (const FieldRow& row : FieldTable()) {
    if (!row.BelongsTo(api)) continue;
    Json schema = Json::parse(row.schema);
    if (row.outcome == FieldOutcome::kRefused) {
      schema["description"] = absl::StrCat("not supported: ", row.note);
    } else if (!row.note.empty()) {
      schema["description"] = row.note;
    }
    properties[row.name] = std::move(schema);
  }
  return {{"type", "object"},
          {"required", Json::array({required})},
          {"properties", std::move(properties)}};
}

Json Reference(const std::string& name) { return {{"$ref", "#/components/schemas/" + name}}; }

Json ContentOf(const char* type, Json schema) { return {{type, {{"schema", std::move(schema)}}}}; }

// OpenAPI 3.1 has one schema for a stream: that of each event.
Json EventSchema() {
  return {{"type", "object"},
          {"required", Json::array({"data"})},
          {"properties",
           {{"event", {{"type", "string"}}},
            {"data", {{"type", "string"}, {"description", "JSON, or [DONE] at the end"}}}}}};
}

Json Describe(const Operation& operation) {
  Json success = {{"description", "OK"}};
  if (*operation.answer != '\0') {
    success["content"] = ContentOf(kJsonType, Reference(operation.answer));
  } else if (*operation.type != '\0') {
    success["content"] = ContentOf(operation.type, {{"type", "string"}});
  }
  const bool streams = *operation.body != '\0' && *operation.path == '/' &&
                       absl::string_view(operation.path).substr(0, 4) == "/v1/";
  if (streams) success["content"]["text/event-stream"] = {{"schema", EventSchema()}};
  const Json error = {{"description", "refused; the body says why"},
                      {"content", ContentOf(kJsonType, Reference("Error"))}};
  const Json any_error = {{"description", "an error; some have no body"}};
  Json json = {{"summary", operation.summary},
               {"responses", {{"200", success}, {"4XX", error}, {"5XX", any_error}}}};
  if (*operation.body != '\0') {
    json["requestBody"] = {{"required", true},
                           {"content", ContentOf(kJsonType, Reference(operation.body))}};
  }
  if (operation.guarded) json["security"] = Json::array({{{"key", Json::array()}}, Json::object()});
  return json;
}

std::string BuildDocument() {
  Json schemas = Json::parse(kSchemas);
  schemas["ChatRequest"] = RequestSchema(FieldApi::kChat, "messages");
  schemas["CompletionRequest"] = RequestSchema(FieldApi::kCompletion, "prompt");
  Json paths = Json::object();
  for (const Operation& operation : kOperations) {
    paths[operation.path][operation.method] = Describe(operation);
  }
  return DumpJson({{"openapi", "3.1.0"},
                   {"info", {{"title", "Baton"}, {"version", std::string(kRelease)}}},
                   {"paths", std::move(paths)},
                   {"components",
                    {{"schemas", std::move(schemas)},
                     {"securitySchemes", {{"key", {{"type", "http"}, {"scheme", "bearer"}}}}}}}});
}

}  // namespace

const std::string& OpenApiDocument() {
  static const auto* const document = new std::string(BuildDocument());
  return *document;
}

absl::string_view DocsPage() { return absl::string_view(kDocsPage, sizeof(kDocsPage) - 1); }

}  // namespace baton::gateway
