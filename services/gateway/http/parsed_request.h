// From what the parser has read to the request that calls see.
#pragma once

#include "absl/strings/string_view.h"
#include "boost/beast/http/fields.hpp"
#include "boost/beast/http/message.hpp"

#include "services/gateway/http/http_message.h"
#include "services/gateway/http/received_body.h"

namespace baton::gateway {

using ParsedRequest = boost::beast::http::request<ReceivedBody>;

inline absl::string_view View(boost::beast::string_view text) {
  return absl::string_view(text.data(), text.size());
}

// Why the end of a body cannot be told beyond doubt; empty if it can. The parser takes a request
// with an unknown Transfer-Encoding for one without a body, so that its body would be read as the
// next request: another server in front could see other requests than this one does.
absl::string_view FramingProblem(const boost::beast::http::fields& fields, bool http_1_0);

// Whether a header has a line that goes on with the one before it. The parser joins such lines,
// others do not. `unread`: from the beginning of any of the header's lines, or of the empty one at
// its end, as far as it has come; a body may follow. The parser takes a line only once it has seen
// that the next one does not go on with it, so that every fold is seen before it is gone.
bool HasFoldedLine(absl::string_view unread);

// What a complete header says; body and times are left out. The parser adds the fields of a trailer
// to those of the header: later they would be taken for its own.
HttpRequest DescribeHeader(const ParsedRequest& message);

}  // namespace baton::gateway
