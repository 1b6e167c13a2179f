// Which pages of other sites may call (CORS), as vLLM's flags of these names say.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

#include "services/gateway/http/http_message.h"

namespace baton::gateway {

struct CorsOptions {
  std::vector<std::string> origins = {"*"};  // "*": any; empty: none, and no header is written
  std::vector<std::string> methods = {"*"};
  // Beside Accept, Accept-Language, Content-Language and Content-Type, which are always allowed.
  std::vector<std::string> headers = {"*"};
  bool credentials = false;  // cookies; the origin is then named even if any may call
};

// Immutable; any thread.
class CorsPolicy final {
 public:
  explicit CorsPolicy(CorsOptions options);

  // What every answer to a request from `origin` carries; nothing for "" and for those that may
  // not.
  void AddHeaders(absl::string_view origin, HttpHeaders* headers) const;

  // Whether a browser asks whether it may ask.
  static bool IsPreflight(const HttpRequest& request);
  // 200 or, for what is not allowed, 400 and why; without what AddHeaders adds.
  HttpResponse AnswerPreflight(const HttpRequest& request) const;

 private:
  bool AllowsOrigin(absl::string_view origin) const;

  const CorsOptions options_;
  const bool any_origin_;
  const bool any_header_;
  std::string methods_;  // as the header lists them
};

}  // namespace baton::gateway
