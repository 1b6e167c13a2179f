#include "services/gateway/http/http_socket.h"

#include <algorithm>
#include <climits>
#include <sys/socket.h>
#include <utility>

#include <netinet/tcp.h>

#include "absl/strings/str_cat.h"
#include "boost/asio/buffer.hpp"
#include "boost/asio/error.hpp"
#include "boost/asio/post.hpp"
#include "openssl/err.h"

namespace baton::gateway {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

// What the kernel may hold that is not on its way yet. Of itself it takes megabytes for a client
// that does not read: tokens made for nobody, and memory.
constexpr int kKernelBytes = 256 << 10;

// The kernel's struct tcp_info as far as it is read here; that of the C library ends earlier.
struct LongTcpInfo {
  tcp_info known;
  uint64_t pacing_rate;
  uint64_t max_pacing_rate;
  uint64_t bytes_acked;
};
static_assert(offsetof(LongTcpInfo, bytes_acked) == 120, "as in linux/tcp.h");

}  // namespace

HttpSocket::HttpSocket(tcp::socket socket, SslSession session)
    : socket_(std::move(socket)), session_(std::move(session)) {
  error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(tcp::no_delay(true), ignored);
  using NotSentBytes = boost::asio::detail::socket_option::integer<IPPROTO_TCP, TCP_NOTSENT_LOWAT>;
  socket_.set_option(NotSentBytes(kKernelBytes), ignored);
}

std::string HttpSocket::peer() const {
  error_code unknown;
  const tcp::endpoint peer = socket_.remote_endpoint(unknown);
  return unknown ? "" : absl::StrCat(peer.address().to_string(), ":", peer.port());
}

void HttpSocket::WaitReadable(OnReady on_ready) {
  if (session_ != nullptr && SSL_pending(session_.get()) > 0) {
    return boost::asio::post(socket_.get_executor(),
                             [on_ready = std::move(on_ready)] { on_ready({}); });
  }
  socket_.async_wait(read_wants_write_ ? tcp::socket::wait_write : tcp::socket::wait_read,
                     std::move(on_ready));
}

size_t HttpSocket::ReadSome(char* out, size_t most, error_code& error) {
  if (session_ != nullptr) return ReadTls(out, most, error);
  return socket_.read_some(boost::asio::buffer(out, most), error);
}

size_t HttpSocket::ReadTls(char* out, size_t most, error_code& error) {
  ERR_clear_error();
  const int got = SSL_read(session_.get(), out, static_cast<int>(std::min<size_t>(most, INT_MAX)));
  read_wants_write_ = false;
  if (got > 0) return static_cast<size_t>(got);
  switch (SSL_get_error(session_.get(), got)) {
    case SSL_ERROR_WANT_WRITE:
      read_wants_write_ = true;
      error = boost::asio::error::would_block;
      return 0;
    case SSL_ERROR_WANT_READ:
      error = boost::asio::error::would_block;
      return 0;
    case SSL_ERROR_ZERO_RETURN:
      error = boost::asio::error::eof;
      return 0;
    default:
      failed_ = true;
      error = boost::asio::error::connection_reset;
      return 0;
  }
}

void HttpSocket::WriteSome(absl::string_view bytes, OnWritten on_written) {
  if (session_ != nullptr) return WriteTls(bytes, std::move(on_written));
  socket_.async_write_some(boost::asio::buffer(bytes.data(), bytes.size()), std::move(on_written));
}

void HttpSocket::WriteTls(absl::string_view bytes, OnWritten on_written) {
  ERR_clear_error();
  const int sent = SSL_write(session_.get(), bytes.data(),
                             static_cast<int>(std::min<size_t>(bytes.size(), INT_MAX)));
  error_code error;
  const int outcome = SSL_get_error(session_.get(), sent);
  switch (outcome) {
    case SSL_ERROR_NONE:
      break;
    case SSL_ERROR_WANT_READ:  // in the handshake, which is not done again later
    case SSL_ERROR_WANT_WRITE:
      // The connection keeps this object, and `bytes`, until it is told.
      return socket_.async_wait(
          outcome == SSL_ERROR_WANT_READ ? tcp::socket::wait_read : tcp::socket::wait_write,
          [this, bytes, on_written = std::move(on_written)](const error_code& failed) {
            if (failed) return on_written(failed, 0);
            WriteTls(bytes, on_written);
          });
    default:
      failed_ = true;
      error = boost::asio::error::connection_reset;
  }
  boost::asio::post(socket_.get_executor(), [on_written = std::move(on_written), error, sent] {
    on_written(error, error ? 0 : static_cast<size_t>(sent));
  });
}

std::optional<uint64_t> HttpSocket::num_acknowledged() {
  LongTcpInfo info = {};
  socklen_t num_bytes = sizeof info;
  if (getsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &num_bytes) != 0 ||
      num_bytes < sizeof info) {
    return std::nullopt;
  }
  return info.bytes_acked;
}

void HttpSocket::SayEnd() {
  if (session_ == nullptr || failed_ || SSL_in_init(session_.get())) return;
  ERR_clear_error();
  SSL_shutdown(session_.get());  // what the kernel has no room for is left out
}

void HttpSocket::ShutdownSend() {
  error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
}

void HttpSocket::Close() {
  error_code ignored;
  socket_.close(ignored);
}

}  // namespace baton::gateway
