#include "tools/bench_serve/http_stream.h"

#include <chrono>
#include <limits>

#include "absl/strings/str_cat.h"
#include "boost/beast/core/flat_buffer.hpp"
#include "boost/beast/core/tcp_stream.hpp"
#include "boost/beast/http/message.hpp"
#include "boost/beast/http/parser.hpp"
#include "boost/beast/http/read.hpp"
#include "boost/beast/http/string_body.hpp"
#include "boost/beast/http/write.hpp"

namespace baton::bench {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using Error = boost::system::error_code;

constexpr size_t kMaxErrorBytes = 2000;  // of an answer that is no success

class BeastStream final : public HttpStream, public std::enable_shared_from_this<BeastStream> {
 public:
  BeastStream(boost::asio::io_context& context, Events events)
      : stream_(context), events_(std::move(events)) {
    // boost::none is "none" for chunks only: any Content-Length would be above it.
    parser_.body_limit(std::numeric_limits<uint64_t>::max());
  }

  void Run(const HttpTarget& target, const HttpStreamRequest& request) {
    request_.version(11);
    request_.method(http::string_to_verb(request.method));
    request_.target(request.path);
    request_.set(http::field::host, target.host);
    request_.set(http::field::connection, "close");
    if (!request.body.empty()) request_.set(http::field::content_type, "application/json");
    for (const auto& [name, value] : target.headers) request_.set(name, value);
    for (const auto& [name, value] : request.headers) request_.set(name, value);
    request_.body() = request.body;
    request_.prepare_payload();
    stream_.expires_after(std::chrono::seconds(request.timeout_sec));
    stream_.async_connect(
        target.endpoints,
        [self = shared_from_this()](const Error& error, const auto&) { self->OnConnected(error); });
  }

 private:
  void OnConnected(const Error& error) {
    if (error) return End(absl::StrCat("cannot connect: ", error.message()));
    Error ignored;
    stream_.socket().set_option(boost::asio::ip::tcp::no_delay(true), ignored);
    http::async_write(stream_, request_, [self = shared_from_this()](const Error& failure, size_t) {
      if (failure) return self->End("cannot send: " + failure.message());
      self->Read();
    });
  }

  void Read() {
    http::async_read_some(
        stream_, buffer_, parser_,
        [self = shared_from_this()](const Error& error, size_t) { self->OnRead(error); });
  }

  void OnRead(const Error& error) {
    if (error) return End(absl::StrCat("the answer broke off: ", error.message()));
    std::string& body = parser_.get().body();
    const int status = parser_.is_header_done() ? parser_.get().result_int() : 0;
    if (status == 200) {
      if (!body.empty()) events_.on_piece(body);
      body.clear();
    } else if (body.size() > kMaxErrorBytes) {
      body.resize(kMaxErrorBytes);
      return End(body);
    }
    if (!parser_.is_done()) return Read();
    End(status == 200 ? "" : body.empty() ? absl::StrCat("status ", status) : body);
  }

  void End(const std::string& error) {
    const int status = parser_.is_header_done() ? parser_.get().result_int() : 0;
    Error ignored;
    stream_.socket().close(ignored);
    events_.on_end(status, error);
  }

  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  http::request<http::string_body> request_;
  http::response_parser<http::string_body> parser_;
  const Events events_;
};

}  // namespace

void HttpStream::Start(boost::asio::io_context& context, const HttpTarget& target,
                       const HttpStreamRequest& request, Events events) {
  std::make_shared<BeastStream>(context, std::move(events))->Run(target, request);
}

}  // namespace baton::bench
