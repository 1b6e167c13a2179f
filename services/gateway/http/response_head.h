// Bytes of HTTP/1.1 responses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

#include "services/gateway/http/http_message.h"

namespace baton::gateway {

struct ResponseHead {
  int status = 200;
  absl::string_view content_type;          // empty: none
  std::optional<uint64_t> content_length;  // unset: chunked, or until close
  bool chunked = false;
  bool keep_alive = true;
};

// Status line and headers with the empty line that ends them. Control characters in header values
// are replaced by spaces.
std::string FormatResponseHead(const ResponseHead& head, const HttpHeaders& headers);

// Appends one chunk of chunked encoding; nothing for no bytes (that would end the body).
void AppendChunk(absl::string_view bytes, std::string* out);

// What ends a chunked body.
inline constexpr absl::string_view kLastChunk = "0\r\n\r\n";

// "Not Found" for 404.
absl::string_view ReasonPhrase(int status);

}  // namespace baton::gateway
