// HTTP requests and complete responses as the calls see them.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace baton::gateway {

class BodyHold;

struct HttpRequest {
  std::string method;  // "GET", as sent; to HEAD goes no body, whatever a call answers
  std::string path;    // "/v1/models": no query, no authority
  std::string query;   // what follows "?"
  std::string body;    // at most HttpLimits::body_bytes
  // Its part of what all bodies hold, shared with copies of the request: they count once.
  std::shared_ptr<const BodyHold> body_hold;
  std::string content_type;       // as sent; empty if absent
  std::string authorization;      // as sent; empty if absent
  std::string api_key;            // x-api-key, as sent; empty if absent
  std::string request_id;         // X-Request-Id if it is a plain name; else empty
  std::string sent_request_id;    // X-Request-Id, as sent; empty if absent
  std::string timeout;            // X-Request-Timeout, as sent; empty if absent
  std::string priority;           // X-Vllm-Priority, as sent; empty if absent
  std::string origin;             // Origin, as sent; empty if absent; so those below:
  std::string preflight_method;   // Access-Control-Request-Method
  std::string preflight_headers;  // Access-Control-Request-Headers
  std::string traceparent;
  std::string tracestate;
  absl::Time received;  // the date when the last byte of the request was read,
  std::chrono::steady_clock::time_point received_tick;  // and that on the clock of intervals
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  HttpHeaders headers;  // in addition to Content-Type, Content-Length, Connection and Date
  bool close = false;   // end the connection afterwards
};

}  // namespace baton::gateway
