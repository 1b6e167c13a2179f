#include "services/gateway/http/cors.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace baton::gateway {
namespace {

// How long a browser may remember the answer to a preflight.
constexpr char kPreflightSeconds[] = "600";
constexpr absl::string_view kAllMethods = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";

bool HoldsAny(const std::vector<std::string>& list) {
  return std::find(list.begin(), list.end(), "*") != list.end();
}

bool HoldsIgnoreCase(const std::vector<std::string>& list, absl::string_view wanted) {
  return std::any_of(list.begin(), list.end(), [wanted](const std::string& item) {
    return absl::EqualsIgnoreCase(item, wanted);
  });
}

CorsOptions WithSafeHeaders(CorsOptions options) {
  for (const char* safe : {"Content-Type", "Content-Language", "Accept-Language", "Accept"}) {
    if (!HoldsIgnoreCase(options.headers, safe)) {
      options.headers.insert(options.headers.begin(), safe);
    }
  }
  return options;
}

}  // namespace

CorsPolicy::CorsPolicy(CorsOptions options)
    : options_(WithSafeHeaders(std::move(options))),
      any_origin_(HoldsAny(options_.origins)),
      any_header_(HoldsAny(options_.headers)),
      methods_(HoldsAny(options_.methods) ? std::string(kAllMethods)
                                          : absl::StrJoin(options_.methods, ", ")) {}

bool CorsPolicy::AllowsOrigin(absl::string_view origin) const {
  return any_origin_ || std::find(options_.origins.begin(), options_.origins.end(), origin) !=
                            options_.origins.end();
}

void CorsPolicy::AddHeaders(absl::string_view origin, HttpHeaders* headers) const {
  if (origin.empty() || !AllowsOrigin(origin)) return;
  const bool named = !any_origin_ || options_.credentials;
  headers->emplace_back("Access-Control-Allow-Origin", named ? std::string(origin) : "*");
  if (named) headers->emplace_back("Vary", "Origin");
  if (options_.credentials) headers->emplace_back("Access-Control-Allow-Credentials", "true");
}

bool CorsPolicy::IsPreflight(const HttpRequest& request) {
  return request.method == "OPTIONS" && !request.origin.empty() &&
         !request.preflight_method.empty();
}

HttpResponse CorsPolicy::AnswerPreflight(const HttpRequest& request) const {
  HttpResponse response;
  response.content_type = "text/plain; charset=utf-8";
  std::vector<absl::string_view> problems;
  if (!AllowsOrigin(request.origin)) problems.emplace_back("origin");
  const std::vector<absl::string_view> methods = absl::StrSplit(methods_, ", ");
  if (std::find(methods.begin(), methods.end(), request.preflight_method) == methods.end()) {
    problems.emplace_back("method");
  }
  if (!any_header_) {
    for (absl::string_view name :
         absl::StrSplit(request.preflight_headers, ',', absl::SkipWhitespace())) {
      name = absl::StripAsciiWhitespace(name);
      if (!HoldsIgnoreCase(options_.headers, name)) {
        problems.emplace_back("headers");
        break;
      }
    }
  }
  response.headers.emplace_back("Access-Control-Allow-Methods", methods_);
  response.headers.emplace_back("Access-Control-Max-Age", kPreflightSeconds);
  const std::string headers =
      any_header_ ? request.preflight_headers : absl::StrJoin(options_.headers, ", ");
  if (!headers.empty()) response.headers.emplace_back("Access-Control-Allow-Headers", headers);
  if (problems.empty()) {
    response.body = "OK";
  } else {
    response.status = 400;
    response.body = "Disallowed CORS " + absl::StrJoin(problems, ", ");
  }
  return response;
}

}  // namespace baton::gateway
