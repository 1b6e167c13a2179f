// One line per HTTP exchange, for those who read logs by program or by eye.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "services/gateway/http/http_exchange.h"
#include "services/gateway/http/http_message.h"

namespace baton::gateway {

enum class AccessLogFormat {
  kNone,
  kText,  // 127.0.0.1:40444 - "POST /v1/chat/completions" 200 1234 B 56.7 ms key=key-1
          // id=chatcmpl-1
  kJson,  // {"time", "peer", "method", "path", "status", "bytes", "ms", "key", "id", "complete"}
};

// "none", "text", "json". Errors: InvalidArgument naming the value.
absl::StatusOr<AccessLogFormat> ParseAccessLogFormat(absl::string_view name);

// A line without its end, ASCII whatever the client sent. `key`: name of the API key; empty: none.
std::string FormatAccess(AccessLogFormat format, const HttpRequest& request,
                         const ExchangeRecord& record, absl::string_view key, absl::Time now);

// Text goes to the log, JSON to standard error by itself, one write per line. Any thread.
void WriteAccess(AccessLogFormat format, const HttpRequest& request, const ExchangeRecord& record,
                 absl::string_view key);

}  // namespace baton::gateway
