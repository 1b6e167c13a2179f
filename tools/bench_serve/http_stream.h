// One HTTP request, plain or through TLS, whose answer is taken piece by piece. Everything happens
// on the io_context's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "boost/asio/io_context.hpp"
#include "boost/asio/ip/tcp.hpp"
#include "boost/asio/ssl/context.hpp"

namespace baton::bench {

using Endpoints = boost::asio::ip::tcp::resolver::results_type;
using TlsContext = boost::asio::ssl::context;

// What OpenSSL's defaults trust, or SSL_CERT_FILE and SSL_CERT_DIR of the environment. With `check`
// false any certificate is good.
std::shared_ptr<TlsContext> MakeTlsContext(bool check);

struct HttpTarget {
  Endpoints endpoints;
  std::string host;                 // for the Host header
  std::shared_ptr<TlsContext> tls;  // null: plain
  std::string server_name;          // with `tls`: name or address that the certificate must have
  std::vector<std::pair<std::string, std::string>> headers;
};

struct HttpStreamRequest {
  std::string method = "POST";
  std::string path;
  std::string body;  // JSON
  std::vector<std::pair<std::string, std::string>> headers;
  int64_t timeout_sec = 60;  // of the whole request
};

class HttpStream {
 public:
  struct Events {
    // A piece of the body of an answer with status 200.
    std::function<void(absl::string_view piece)> on_piece;
    // Once, at the end, and nothing follows. `status`: the answer's; 0 if there was none. `error`:
    // empty if all went well, else why not; of another status than 200 the body.
    std::function<void(int status, const std::string& error)> on_end;
  };

  // Starts; lives until `on_end` has been called.
  static void Start(boost::asio::io_context& context, const HttpTarget& target,
                    const HttpStreamRequest& request, Events events);

  virtual ~HttpStream() = default;
};

}  // namespace baton::bench
