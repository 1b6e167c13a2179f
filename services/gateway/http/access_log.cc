#include "services/gateway/http/access_log.h"

#include <algorithm>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "common/log/log.h"

namespace baton::gateway {
namespace {

// Between quotes, of JSON and of text alike.
std::string Quoted(absl::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      absl::StrAppend(&quoted, "\\", absl::string_view(&c, 1));
    } else if (byte < 0x20 || byte >= 0x7f) {
      absl::StrAppendFormat(&quoted, "\\u%04x", byte);
    } else {
      quoted.push_back(c);
    }
  }
  quoted.push_back('"');
  return quoted;
}

// Names that a client made up may hold blanks, or what looks like another field.
std::string PlainOrQuoted(const std::string& text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '"' && c != '=';
  });
  return plain ? text : Quoted(text);
}

}  // namespace

absl::StatusOr<AccessLogFormat> ParseAccessLogFormat(absl::string_view name) {
  if (name == "none") return AccessLogFormat::kNone;
  if (name == "text") return AccessLogFormat::kText;
  if (name == "json") return AccessLogFormat::kJson;
  return absl::InvalidArgumentError(
      absl::StrCat("--access-log is \"", name, "\"; wanted none, text or json"));
}

std::string FormatAccess(AccessLogFormat format, const HttpRequest& request,
                         const ExchangeRecord& record, absl::string_view key, absl::Time now) {
  const double ms = absl::ToDoubleMilliseconds(record.duration);
  if (format == AccessLogFormat::kJson) {
    return absl::StrCat("{\"time\":\"",
                        absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", now, absl::UTCTimeZone()),
                        "\",\"peer\":", Quoted(record.peer), ",\"method\":", Quoted(request.method),
                        ",\"path\":", Quoted(request.path), ",\"status\":", record.status,
                        ",\"bytes\":", record.body_bytes, ",\"ms\":", absl::StrFormat("%.3f", ms),
                        ",\"key\":", Quoted(key), ",\"id\":", Quoted(record.request_id),
                        ",\"complete\":", record.complete ? "true" : "false", "}");
  }
  return absl::StrCat(record.peer, " - ", Quoted(absl::StrCat(request.method, " ", request.path)),
                      " ", record.status, " ", record.body_bytes, " B ",
                      absl::StrFormat("%.1f", ms), " ms", key.empty() ? "" : " key=", key,
                      record.request_id.empty() ? "" : " id=", PlainOrQuoted(record.request_id),
                      record.complete ? "" : " broken off");
}

void WriteAccess(AccessLogFormat format, const HttpRequest& request, const ExchangeRecord& record,
                 absl::string_view key) {
  if (format == AccessLogFormat::kNone) return;
  std::string line = FormatAccess(format, request, record, key, absl::Now());
  if (format == AccessLogFormat::kText) {
    BATON_LOG(INFO) << line;
    return;
  }
  line.push_back('\n');
  // A log that cannot be written must not stop the service.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace baton::gateway
