#include "services/gateway/pages/openapi_document.h"

#include <utility>

#include "absl/strings/match.h"

#include "common/config/release.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/pages/openapi_schemas.h"

namespace baton::gateway {
namespace {

// Shape of the bodies of errors.
enum class Errors { kOpenAi, kAnthropic, kNone };

struct Operation {
  const char* path;
  const char* method;
  const char* summary;
  const char* body;    // schema of the request; empty: none
  const char* answer;  // schema of the JSON that 200 has; empty: another type
  const char* type;    // of the answer
  bool guarded;        // needs an API key if there are any
  Errors errors = Errors::kOpenAi;
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
     "MessagesAnswer", kJsonType, true, Errors::kAnthropic},
    {"/v1/messages/count_tokens", "post", "Tokens of a prompt", "CountTokensRequest", "TokenCount",
     kJsonType, true, Errors::kAnthropic},
    {"/v1/models", "get", "Models that are served", "", "ModelList", kJsonType, true},
    {"/v1/models/{model}", "get", "One of them", "", "Model", kJsonType, true},
    {"/tokenize", "post", "Text or conversation to token ids", "TokenizeRequest", "Tokens",
     kJsonType, true},
    {"/detokenize", "post", "Token ids to text", "DetokenizeRequest", "Text", kJsonType, true},
    {"/tokenizer_info", "get", "The tokenizer and its template, if the server shows them", "",
     "Object", kJsonType, true},
    {"/load", "get", "Sequences that run or wait", "", "Load", kJsonType, true},
    {"/version", "get", "Release of the server", "", "Version", kJsonType, true},
    {"/health", "get", "200 while tokens can be produced", "", "", "", false, Errors::kNone},
    {"/health/live", "get", "200 while the process makes progress", "", "Object", kJsonType, false},
    {"/health/ready", "get", "200 while new requests are answered", "", "Object", kJsonType, false},
    {"/ping", "get", "As /health", "", "", "", false, Errors::kNone},
    {"/ping", "post", "As /health", "", "", "", false, Errors::kNone},
    {"/metrics", "get", "Prometheus' text format", "", "", "text/plain", true},
};

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

// What a call itself refuses has the shape of its API; what does not come so far, as a body that is
// too large, has OpenAI's.
Json ErrorResponses(Errors errors, bool guarded, bool has_body) {
  if (errors == Errors::kNone) return {{"503", {{"description", "not ready; without a body"}}}};
  const auto describe = [](const char* text, const char* schema) -> Json {
    return {{"description", text}, {"content", ContentOf(kJsonType, Reference(schema))}};
  };
  const char* const own = errors == Errors::kAnthropic ? "AnthropicError" : "Error";
  Json responses = {{"4XX", describe("refused before it was read, or no such method", "Error")},
                    {"5XX", describe("failed; Retry-After says when to ask again", own)}};
  if (guarded) responses["401"] = describe("no key that is known", own);
  if (!has_body) return responses;
  responses["400"] = describe("no JSON, or a field is wrong, or asks for what is not here", own);
  responses["404"] = describe("no such model", own);
  responses["429"] = describe("a limit of the key; Retry-After says when to ask again", own);
  responses["499"] = describe("ended by Abort", own);
  return responses;
}

Json Describe(const Operation& operation) {
  const bool has_body = *operation.body != '\0';
  Json success = {{"description", "OK"}};
  if (*operation.answer != '\0') {
    success["content"] = ContentOf(kJsonType, Reference(operation.answer));
  } else if (*operation.type != '\0') {
    success["content"] = ContentOf(operation.type, {{"type", "string"}});
  }
  const absl::string_view path = operation.path;
  const absl::string_view body = operation.body;
  const bool streams = has_body && absl::StartsWith(path, "/v1/") && body != "ChatBatchRequest" &&
                       body != "CountTokensRequest";
  if (streams) success["content"]["text/event-stream"] = {{"schema", EventSchema()}};
  Json json = {{"summary", operation.summary},
               {"responses", ErrorResponses(operation.errors, operation.guarded, has_body)}};
  json["responses"]["200"] = std::move(success);
  if (absl::StrContains(path, "{model}")) {
    json["parameters"] = Json::array({{{"name", "model"},
                                       {"in", "path"},
                                       {"required", true},
                                       {"schema", {{"type", "string"}, {"minLength", 1}}}}});
    json["responses"]["404"] = {{"description", "no such model"},
                                {"content", ContentOf(kJsonType, Reference("Error"))}};
  }
  if (has_body) {
    json["requestBody"] = {{"required", true},
                           {"content", ContentOf(kJsonType, Reference(operation.body))}};
  }
  if (operation.guarded) json["security"] = Json::array({{{"key", Json::array()}}, Json::object()});
  return json;
}

}  // namespace

std::string OpenApiDocument(const RequestCaps& caps) {
  Json paths = Json::object();
  for (const Operation& operation : kOperations) {
    paths[operation.path][operation.method] = Describe(operation);
  }
  return DumpJson({{"openapi", "3.1.0"},
                   {"info", {{"title", "Baton"}, {"version", std::string(kRelease)}}},
                   {"paths", std::move(paths)},
                   {"components",
                    {{"schemas", OpenApiSchemas(caps)},
                     {"securitySchemes", {{"key", {{"type", "http"}, {"scheme", "bearer"}}}}}}}});
}

absl::string_view DocsPage() { return absl::string_view(kDocsPage, sizeof(kDocsPage) - 1); }

}  // namespace baton::gateway
