// Which call serves which method and path.
#pragma once

#include <memory>
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

// Paths match byte for byte. All but probes and pages need an API key if any are configured.
// Unknown paths are 404, known ones with another method 405. Preflights of browsers are answered
// for every path.
class ApiRouter final : public HttpRouter {
 public:
  // `context` must outlive the router.
  explicit ApiRouter(const GatewayContext& context) : context_(context) {}

  std::unique_ptr<HttpCall> Route(HttpExchange& exchange) override;
  HttpResponse Refuse(const HttpRequest& known, int status, absl::string_view message) override;
  void AddHeaders(const HttpRequest& request, HttpHeaders* headers) override;
  bool wants_records() const override { return context_.access_log != AccessLogFormat::kNone; }
  void OnExchangeEnd(const HttpRequest& request, const ExchangeRecord& record) override;

 private:
  // A request that no entry of the table is for.
  HttpResponse AnswerOther(const HttpRequest& request, absl::string_view* route) const;

  const GatewayContext& context_;
};

}  // namespace baton::gateway
