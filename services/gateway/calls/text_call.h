// Requests that take some computing over text, and no generation: /tokenize and its like.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/http/http_exchange.h"
#include "services/gateway/openai/error_body.h"

namespace baton::gateway {

// Short requests are answered at once, long ones by the text worker, which they wait for until
// their deadline and no longer than their client. The deadline is that of the header
// X-Request-Timeout, or the gateway's. Each uses one of its key's requests per minute that generate
// nothing, and none of its tokens. On the loop's thread.
class TextCall final : public HttpCall {
 public:
  // The answer's body, JSON. Any thread.
  using Compute = std::function<absl::StatusOr<std::string>(const GatewayContext& context,
                                                            const HttpRequest& request)>;
  struct Options {
    std::string route;  // for metrics
    Compute compute;
    ErrorShape errors = kOpenAiErrors;
  };

  // `context` and `exchange` must outlive the call.
  TextCall(const GatewayContext& context, HttpExchange& exchange, Options options);
  ~TextCall() override;

  void Start() override;
  void OnDisconnect(Departure) override { Forget(); }
  void Abort(const absl::Status& reason) override;

 private:
  struct Job;

  // Answers at its deadline while the text worker has the request.
  void WatchDeadline();
  void Answer(absl::StatusOr<std::string> body);
  void Forget();

  const GatewayContext& context_;
  HttpExchange& exchange_;
  const Options options_;
  ApiCaller caller_;      // nobody where the route needs no key
  bool counted_ = false;  // among the requests of its key
  bool answered_ = false;
  std::shared_ptr<Job> job_;  // while the text worker has it
};

}  // namespace baton::gateway
