#include "tools/bench_serve/http_stream.h"

#include <chrono>
#include <limits>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "boost/asio/ip/address.hpp"
#include "boost/asio/ssl/host_name_verification.hpp"
#include "boost/asio/ssl/stream.hpp"
#include "boost/beast/core/flat_buffer.hpp"
#include "boost/beast/core/tcp_stream.hpp"
#include "boost/beast/http/message.hpp"
#include "boost/beast/http/parser.hpp"
#include "boost/beast/http/read.hpp"
#include "boost/beast/http/string_body.hpp"
#include "boost/beast/http/write.hpp"
#include "openssl/ssl.h"
#include "openssl/x509.h"

namespace baton::bench {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using Error = boost::system::error_code;

constexpr size_t kMaxErrorBytes = 2000;  // of an answer that is no success

using PlainStream = beast::tcp_stream;
using TlsStream = boost::asio::ssl::stream<beast::tcp_stream>;

template <typename Stream>
class BeastStream final : public HttpStream,
                          public std::enable_shared_from_this<BeastStream<Stream>> {
 public:
  // `target` need not outlive the call, its TLS context must outlive this.
  BeastStream(boost::asio::io_context& context, const HttpTarget& target, Events events)
      : stream_(MakeStream(context, target)), tls_(target.tls), events_(std::move(events)) {
    if constexpr (kIsTls) WantName(target.server_name);
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
    socket().expires_after(std::chrono::seconds(request.timeout_sec));
    socket().async_connect(target.endpoints,
                           [self = this->shared_from_this()](const Error& error, const auto&) {
                             self->OnConnected(error);
                           });
  }

 private:
  static constexpr bool kIsTls = std::is_same_v<Stream, TlsStream>;

  static Stream MakeStream(boost::asio::io_context& context, const HttpTarget& target) {
    if constexpr (kIsTls) {
      return TlsStream(context, *target.tls);
    } else {
      return PlainStream(context);
    }
  }

  void WantName(const std::string& name) {
    Error not_an_address;
    boost::asio::ip::make_address(name, not_an_address);
    // A server may choose its certificate by a name, but not by an address.
    if (not_an_address) SSL_set_tlsext_host_name(stream_.native_handle(), name.c_str());
    stream_.set_verify_callback(boost::asio::ssl::host_name_verification(name));
  }

  beast::tcp_stream& socket() { return beast::get_lowest_layer(stream_); }

  void OnConnected(const Error& error) {
    if (error) return End(absl::StrCat("cannot connect: ", error.message()));
    Error ignored;
    socket().socket().set_option(boost::asio::ip::tcp::no_delay(true), ignored);
    if constexpr (kIsTls) {
      stream_.async_handshake(
          boost::asio::ssl::stream_base::client,
          [self = this->shared_from_this()](const Error& failure) { self->OnHandshake(failure); });
    } else {
      Send();
    }
  }

  void OnHandshake(const Error& error) {
    if (!error) return Send();
    std::string reason = error.message();
    if constexpr (kIsTls) {
      if (const int64_t verdict = SSL_get_verify_result(stream_.native_handle());
          verdict != X509_V_OK) {
        absl::StrAppend(&reason, " (", X509_verify_cert_error_string(verdict), ")");
      }
    }
    End(absl::StrCat("no TLS: ", reason));
  }

  void Send() {
    http::async_write(stream_, request_,
                      [self = this->shared_from_this()](const Error& failure, size_t) {
                        if (failure) return self->End("cannot send: " + failure.message());
                        self->Read();
                      });
  }

  void Read() {
    http::async_read_some(
        stream_, buffer_, parser_,
        [self = this->shared_from_this()](const Error& error, size_t) { self->OnRead(error); });
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
    socket().socket().close(ignored);
    events_.on_end(status, error);
  }

  Stream stream_;
  const std::shared_ptr<TlsContext> tls_;
  beast::flat_buffer buffer_;
  http::request<http::string_body> request_;
  http::response_parser<http::string_body> parser_;
  const Events events_;
};

}  // namespace

std::shared_ptr<TlsContext> MakeTlsContext(bool check) {
  auto context = std::make_shared<TlsContext>(TlsContext::tls_client);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  Error ignored;  // nothing is trusted then
  context->set_default_verify_paths(ignored);
  context->set_verify_mode(check ? boost::asio::ssl::verify_peer : boost::asio::ssl::verify_none);
  return context;
}

void HttpStream::Start(boost::asio::io_context& context, const HttpTarget& target,
                       const HttpStreamRequest& request, Events events) {
  if (target.tls != nullptr) {
    std::make_shared<BeastStream<TlsStream>>(context, target, std::move(events))
        ->Run(target, request);
  } else {
    std::make_shared<BeastStream<PlainStream>>(context, target, std::move(events))
        ->Run(target, request);
  }
}

}  // namespace baton::bench
