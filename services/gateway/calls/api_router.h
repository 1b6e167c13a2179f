// Which call serves which method and path.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"

#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/http/http_exchange.h"

namespace baton::gateway {

struct ServedRoute {
  absl::string_view path;     // "/v1/models/{model}" stands for any name
  absl::string_view methods;  // "GET, HEAD"
};

// Every path that is not a 404.
std::vector<ServedRoute> ServedRoutes();

// Paths match byte for byte; a model's name may hold escapes and slashes. All but probes and pages
// need an API key if any are configured. Unknown paths are 404, known ones with another method 405.
// Preflights of browsers are answered for every path.
class ApiRouter final : public HttpRouter {
 public:
  // `context` must outlive the router.
  explicit ApiRouter(const GatewayContext& context) : context_(context) {}

  std::optional<HttpResponse> Screen(const HttpRequest& header) override;
  bool ReadsBody(const HttpRequest& header) override;
  std::string CallerOf(const HttpRequest& header) override;
  std::unique_ptr<HttpCall> Route(HttpExchange& exchange) override;
  HttpResponse Refuse(const HttpRequest& known, int status, absl::string_view message) override;
  void AddHeaders(const HttpRequest& request, HttpHeaders* headers) override;
  bool wants_records() const override { return context_.access_log != AccessLogFormat::kNone; }
  void OnExchangeEnd(const HttpRequest& request, const ExchangeRecord& record) override;

 private:
  // Key, path and method, which the header says. nullopt: it is for one of the routes.
  std::optional<HttpResponse> CheckHeader(const HttpRequest& request) const;
  HttpResponse AnswerModel(const HttpRequest& request) const;

  const GatewayContext& context_;
};

}  // namespace baton::gateway
