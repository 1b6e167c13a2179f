#include "services/gateway/calls/request_checks.h"

#include <chrono>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "common/concurrency/steady_time.h"
#include "common/config/release.h"
#include "services/gateway/admission/refusal.h"

namespace baton::gateway {

std::string CredentialsOf(const HttpRequest& request) {
  if (!request.authorization.empty() || request.api_key.empty()) return request.authorization;
  return absl::StrCat("Bearer ", request.api_key);
}

absl::Status CheckJsonContentType(const HttpRequest& request) {
  absl::string_view type = request.content_type;
  type = absl::StripAsciiWhitespace(type.substr(0, type.find(';')));
  if (type.empty() || absl::EqualsIgnoreCase(type, "application/json") ||
      absl::EndsWithIgnoreCase(type, "+json")) {
    return absl::OkStatus();
  }
  return WithReason(
      absl::InvalidArgumentError(absl::StrCat("Unsupported content type \"", type.substr(0, 64),
                                              "\": this method accepts application/json")),
      kUnsupportedContentType);
}

absl::Status CheckModelName(const ServedModel& model, absl::string_view name) {
  if (model.HasName(name)) return absl::OkStatus();
  return WithReason(
      WithRefusedField(absl::NotFoundError(absl::StrCat(
                           "The model `", name.substr(0, 256),
                           "` does not exist. Served: ", absl::StrJoin(model.names, ", "))),
                       "model"),
      "model_not_found");
}

absl::Time DeadlineOf(const HttpRequest& request, absl::Duration timeout) {
  const absl::Duration elapsed =
      absl::FromChrono(std::chrono::steady_clock::now() - request.received_tick);
  return SteadyNow() - elapsed + timeout;
}

absl::Status CheckWholeAnswer(size_t num_bytes, size_t most) {
  if (num_bytes <= most) return absl::OkStatus();
  return WithReason(
      absl::InvalidArgumentError(
          absl::StrCat("the answer grew over ", most,
                       " bytes: ask for fewer tokens, choices or log-probabilities, or stream it")),
      "answer_too_large");
}

RequestScope NamedScope(const RequestScope& scope, const HttpRequest& http_request,
                        const std::string& id_prefix, const std::string& request_id) {
  RequestScope named = scope;
  if (http_request.request_id.empty() && !request_id.empty()) named.id = id_prefix + request_id;
  return named;
}

AnswerHead MakeAnswerHead(const ServedModel& model, const std::string& id, absl::Time arrival) {
  return {
      .id = id,
      .created_unix_seconds = absl::ToUnixSeconds(arrival),
      .model = model.names.front(),
      .system_fingerprint = absl::StrCat("baton-", kRelease, "-", model.fingerprint.substr(0, 8))};
}

}  // namespace baton::gateway
