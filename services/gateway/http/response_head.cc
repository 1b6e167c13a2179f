#include "services/gateway/http/response_head.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "boost/beast/http/status.hpp"

namespace baton::gateway {
namespace {

void AppendField(absl::string_view name, absl::string_view value, std::string* out) {
  absl::StrAppend(out, name, ": ");
  for (char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    out->push_back(byte < 0x20 || byte == 0x7f ? ' ' : c);
  }
  out->append("\r\n");
}

}  // namespace

absl::string_view ReasonPhrase(int status) {
  const auto phrase =
      boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(status));
  return absl::string_view(phrase.data(), phrase.size());
}

std::string FormatResponseHead(const ResponseHead& head, const HttpHeaders& headers) {
  std::string out = absl::StrCat(
      "HTTP/1.1 ", head.status, " ", ReasonPhrase(head.status),
      "\r\nDate: ", absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(), absl::UTCTimeZone()),
      "\r\n");
  if (!head.content_type.empty()) AppendField("Content-Type", head.content_type, &out);
  if (head.content_length) absl::StrAppend(&out, "Content-Length: ", *head.content_length, "\r\n");
  if (head.chunked) out.append("Transfer-Encoding: chunked\r\n");
  out.append(head.keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n");
  for (const auto& [name, value] : headers) AppendField(name, value, &out);
  out.append("\r\n");
  return out;
}

void AppendChunk(absl::string_view bytes, std::string* out) {
  if (bytes.empty()) return;
  absl::StrAppend(out, absl::Hex(bytes.size()), "\r\n", bytes, "\r\n");
}

}  // namespace baton::gateway
