#include "services/gateway/calls/api_router.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "services/gateway/admission/refusal.h"
#include "services/gateway/answers/random_id.h"
#include "services/gateway/anthropic/anthropic_errors.h"
#include "services/gateway/calls/chat_completions_call.h"
#include "services/gateway/calls/completions_call.h"
#include "services/gateway/calls/messages_call.h"
#include "services/gateway/calls/model_calls.h"
#include "services/gateway/calls/probe_calls.h"
#include "services/gateway/calls/request_checks.h"
#include "services/gateway/calls/responses_call.h"
#include "services/gateway/calls/tokenize_calls.h"
#include "services/gateway/http/request_target.h"
#include "services/gateway/openai/error_body.h"
#include "services/gateway/pages/chat_page.h"
#include "services/gateway/pages/openapi_document.h"

namespace baton::gateway {
namespace {

using MakeCall = std::unique_ptr<HttpCall> (*)(const GatewayContext&, HttpExchange&);
constexpr char kHtmlType[] = "text/html; charset=utf-8";

HttpResponse Page(absl::string_view type, absl::string_view body) {
  HttpResponse response;
  response.content_type = std::string(type);
  response.body = std::string(body);
  return response;
}

using MakeResponse = HttpResponse (*)(const GatewayContext&);

constexpr bool kGuarded = true;  // needs an API key if any are configured
constexpr bool kOpen = false;

struct RouteEntry {
  absl::string_view path;
  absl::string_view methods;  // as in the Allow header
  bool guarded;
  MakeCall call;          // either
  MakeResponse response;  // or
};

constexpr absl::string_view kMetricsPath = "/metrics";

constexpr RouteEntry kRoutes[] = {
    {"/v1/chat/completions", "POST", kGuarded, MakeChatCompletionsCall, nullptr},
    {"/v1/chat/completions/batch", "POST", kGuarded, MakeChatBatchCall, nullptr},
    {"/v1/completions", "POST", kGuarded, MakeCompletionsCall, nullptr},
    {"/v1/responses", "POST", kGuarded, MakeResponsesCall, nullptr},
    {"/v1/messages", "POST", kGuarded, MakeMessagesCall, nullptr},
    {"/v1/messages/count_tokens", "POST", kGuarded, MakeCountTokensCall, nullptr},
    {"/v1/models", "GET, HEAD", kGuarded, nullptr, ListModels},
    {"/tokenize", "POST", kGuarded, MakeTokenizeCall, nullptr},
    {"/detokenize", "POST", kGuarded, MakeDetokenizeCall, nullptr},
    {"/tokenizer_info", "GET, HEAD", kGuarded, nullptr, TokenizerInfo},
    {"/load", "GET, HEAD", kGuarded, nullptr, Load},
    {"/health", "GET, HEAD", kOpen, nullptr, Health},
    {"/health/live", "GET, HEAD", kOpen, nullptr,
     [](const GatewayContext&) { return HealthLive(); }},
    {"/health/ready", "GET, HEAD", kOpen, nullptr, HealthReady},
    {"/ping", "GET, HEAD, POST", kOpen, nullptr, Health},
    {"/version", "GET, HEAD", kGuarded, nullptr, [](const GatewayContext&) { return Version(); }},
    {kMetricsPath, "GET, HEAD", kGuarded, nullptr, Metrics},
    {"/", "GET, HEAD", kOpen, nullptr,
     [](const GatewayContext&) { return Page(kHtmlType, ChatPage()); }},
    {"/docs", "GET, HEAD", kOpen, nullptr,
     [](const GatewayContext&) { return Page(kHtmlType, DocsPage()); }},
    {"/openapi.json", "GET, HEAD", kOpen, nullptr,
     [](const GatewayContext& context) {
       return Page("application/json", context.openapi_document);
     }},
};
constexpr absl::string_view kModelPrefix = "/v1/models/";
constexpr ServedRoute kModelRoute = {"/v1/models/{model}", "GET, HEAD"};

// An answer that is known at once.
class ImmediateCall final : public HttpCall {
 public:
  ImmediateCall(HttpExchange& exchange, HttpResponse response)
      : exchange_(exchange), response_(std::move(response)) {}
  void Start() override { exchange_.Send(std::move(response_)); }
  void Abort(const absl::Status&) override {}  // the answer is on its way

 private:
  HttpExchange& exchange_;
  HttpResponse response_;
};

// Whether clients of a path expect errors as Anthropic writes them.
bool SpeaksAnthropic(absl::string_view path) {
  return absl::ConsumePrefix(&path, "/v1/messages") && (path.empty() || path[0] == '/');
}

const ErrorShape& ErrorsOf(absl::string_view path) {
  return SpeaksAnthropic(path) ? kAnthropicErrors : kOpenAiErrors;
}

// Of what only HTTP knows, in the shape of the path's API.
HttpResponse HttpErrorOf(absl::string_view path, int status, absl::string_view message,
                         absl::string_view code) {
  return SpeaksAnthropic(path) ? AnthropicErrorResponse(status, message, code)
                               : ErrorResponse(status, message, code);
}

// Of requests that were not read to their end.
absl::string_view CodeOfRefusal(int status) {
  if (status == 413) return "request_too_large";
  return status == 503 ? kServerIsOverloaded : "bad_request";
}

HttpResponse MethodNotAllowed(const HttpRequest& request, absl::string_view allowed) {
  HttpResponse response = HttpErrorOf(
      request.path, 405,
      absl::StrCat("Not allowed to ", request.method, " on ", request.path, ": use ", allowed),
      "method_not_allowed");
  response.headers.emplace_back("Allow", std::string(allowed));
  return response;
}

bool Allows(absl::string_view methods, absl::string_view method) {
  for (absl::string_view rest = methods; !rest.empty();) {
    const size_t comma = rest.find(", ");
    if (rest.substr(0, comma) == method) return true;
    rest = comma == absl::string_view::npos ? absl::string_view() : rest.substr(comma + 2);
  }
  return false;
}

// Null: there is none.
const RouteEntry* FindRoute(absl::string_view path) {
  const RouteEntry* const entry =
      std::find_if(std::begin(kRoutes), std::end(kRoutes),
                   [path](const RouteEntry& known) { return known.path == path; });
  return entry == std::end(kRoutes) ? nullptr : entry;
}

// What metrics call the path: words that anybody may make up are one.
absl::string_view RouteOf(absl::string_view path) {
  if (const RouteEntry* const entry = FindRoute(path); entry != nullptr) return entry->path;
  return absl::StartsWith(path, kModelPrefix) ? kModelRoute.path : "other";
}

}  // namespace

std::vector<ServedRoute> ServedRoutes() {
  std::vector<ServedRoute> routes;
  for (const RouteEntry& entry : kRoutes) routes.push_back({entry.path, entry.methods});
  routes.push_back(kModelRoute);
  return routes;
}

std::optional<HttpResponse> ApiRouter::Screen(const HttpRequest& header) {
  if (CorsPolicy::IsPreflight(header)) return std::nullopt;
  std::optional<HttpResponse> refusal = CheckHeader(header);
  if (refusal) {
    context_.metrics.CountHttpAnswer(RouteOf(header.path), header.method, refusal->status);
  }
  return refusal;
}

bool ApiRouter::ReadsBody(const HttpRequest& header) {
  const RouteEntry* const entry = FindRoute(header.path);
  return entry != nullptr && entry->call != nullptr && !CorsPolicy::IsPreflight(header);
}

std::string ApiRouter::CallerOf(const HttpRequest& header) {
  absl::StatusOr<ApiCaller> caller = context_.api_keys.Identify(CredentialsOf(header));
  return caller.ok() ? std::move(caller->name) : "";
}

std::unique_ptr<HttpCall> ApiRouter::Route(HttpExchange& exchange) {
  const HttpRequest& request = exchange.request();
  const auto answer = [&](absl::string_view route,
                          HttpResponse response) -> std::unique_ptr<HttpCall> {
    context_.metrics.CountHttpAnswer(route, request.method, response.status);
    return std::make_unique<ImmediateCall>(exchange, std::move(response));
  };
  if (CorsPolicy::IsPreflight(request)) {
    return answer("preflight", context_.cors.AnswerPreflight(request));
  }
  if (std::optional<HttpResponse> refusal = CheckHeader(request); refusal) {
    return answer(RouteOf(request.path), std::move(*refusal));
  }
  const RouteEntry* const entry = FindRoute(request.path);
  if (entry == nullptr) return answer(kModelRoute.path, AnswerModel(request));
  if (entry->call != nullptr) return entry->call(context_, exchange);
  return answer(entry->path, entry->response(context_));
}

std::optional<HttpResponse> ApiRouter::CheckHeader(const HttpRequest& request) const {
  const bool hidden = request.path == kMetricsPath && !context_.public_metrics;
  const RouteEntry* const entry = hidden ? nullptr : FindRoute(request.path);
  if (entry != nullptr ? entry->guarded : absl::StartsWith(request.path, "/v1/")) {
    const absl::Status allowed = context_.api_keys.Check(CredentialsOf(request));
    if (!allowed.ok()) return ErrorsOf(request.path).response(allowed);
  }
  if (entry == nullptr && !absl::StartsWith(request.path, kModelPrefix)) {
    return HttpErrorOf(request.path, 404,
                       absl::StrCat("Unknown path ", request.path.substr(0, 256)), "unknown_path");
  }
  const absl::string_view methods = entry != nullptr ? entry->methods : kModelRoute.methods;
  if (!Allows(methods, request.method)) return MethodNotAllowed(request, methods);
  return std::nullopt;
}

HttpResponse ApiRouter::AnswerModel(const HttpRequest& request) const {
  const auto name = DecodeEscapes(absl::string_view(request.path).substr(kModelPrefix.size()));
  if (name) return DescribeModel(context_, *name);
  return ErrorResponse(400, "The model's name in the path has an escape that is none",
                       "invalid_value");
}

void ApiRouter::AddHeaders(const HttpRequest& request, HttpHeaders* headers) {
  context_.cors.AddHeaders(request.origin, headers);
  const bool named = std::any_of(headers->begin(), headers->end(),
                                 [](const auto& header) { return header.first == "X-Request-Id"; });
  if (named) return;
  headers->emplace_back("X-Request-Id",
                        request.sent_request_id.empty() ? RandomId("") : request.sent_request_id);
}

void ApiRouter::OnExchangeEnd(const HttpRequest& request, const ExchangeRecord& record) {
  WriteAccess(context_.access_log, request, record, CallerOf(request));
}

HttpResponse ApiRouter::Refuse(const HttpRequest& known, int status, absl::string_view message) {
  context_.metrics.CountHttpAnswer(RouteOf(known.path), known.method, status);
  return HttpErrorOf(known.path, status, message, CodeOfRefusal(status));
}

}  // namespace baton::gateway
