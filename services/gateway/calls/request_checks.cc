#include "services/gateway/calls/request_checks.h"

#include <chrono>
#include <initializer_list>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "common/concurrency/steady_time.h"
#include "common/config/release.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/calls/text_queue.h"

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

bool BelongsToTextWorker(absl::string_view body) {
  if (body.size() > TextQueue::kShortBodyBytes) return true;
  // response_format, and text.format of the Responses API; guided_json and its like.
  return MayNameField(body,
                      {"format\"", "structured_outputs", "\"guided_", "tool_choice", "\"strict\""});
}

bool MayNameField(absl::string_view body, std::initializer_list<absl::string_view> names) {
  for (const absl::string_view name : names) {
    if (absl::StrContains(body, name)) return true;
  }
  // A name may be written with escapes: of its letters and underscores, \u0040 to \u007f.
  static constexpr absl::string_view kEscape = "\\u00";
  for (size_t at = body.find(kEscape); at != absl::string_view::npos;
       at = body.find(kEscape, at + kEscape.size())) {
    const size_t digit = at + kEscape.size();
    if (digit < body.size() && body[digit] >= '4' && body[digit] <= '7') return true;
  }
  return false;
}

absl::Time DeadlineOf(const HttpRequest& request, absl::Duration timeout) {
  const absl::Duration elapsed =
      absl::FromChrono(std::chrono::steady_clock::now() - request.received_tick);
  return SteadyNow() - elapsed + timeout;
}

absl::Status CheckWholeAnswer(size_t num_bytes, size_t most) {
  if (num_bytes <= most) return absl::OkStatus();
  return WithReason(
      absl::InvalidArgumentError(absl::StrCat("the answer grew over ", most,
                                              " bytes (--max-answer-mib): ask for fewer tokens, "
                                              "choices or log-probabilities, or stream it")),
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
