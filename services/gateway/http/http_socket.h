// The bytes of one connection, plain or through TLS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "boost/asio/ip/tcp.hpp"
#include "boost/system/error_code.hpp"

#include "services/gateway/http/tls_context.h"

namespace baton::gateway {

// On the loop's thread. One wait for reading and one write at a time.
class HttpSocket final {
 public:
  using OnReady = std::function<void(const boost::system::error_code&)>;
  using OnWritten = std::function<void(const boost::system::error_code&, size_t num_bytes)>;

  // `session` null: plain. Does not block from here on.
  HttpSocket(boost::asio::ip::tcp::socket socket, SslSession session);

  boost::asio::any_io_executor get_executor() { return socket_.get_executor(); }
  bool is_tls() const { return session_ != nullptr; }
  // "127.0.0.1:40444"; empty if it is not known any more.
  std::string peer() const;

  // Until ReadSome may have something to say; it may have nothing all the same.
  void WaitReadable(OnReady on_ready);
  // Error `would_block`: nothing yet; `eof`: the client sends no more.
  size_t ReadSome(char* out, size_t most, boost::system::error_code& error);
  // Writes one byte or more. `bytes` must stay until `on_written`, which is never called from here.
  // Before anything was read, it waits for the handshake: nobody may wait for reading then.
  void WriteSome(absl::string_view bytes, OnWritten on_written);

  // Bytes that the client's kernel has confirmed since the connection began, and so has room for
  // more behind them; nullopt: not known.
  std::optional<uint64_t> num_acknowledged();

  // Tells the client that all has been written and nothing more comes: the end of what is not
  // framed otherwise. Without TLS any end says so.
  void SayEnd();
  // Nothing more will be written.
  void ShutdownSend();
  void Close();

 private:
  size_t ReadTls(char* out, size_t most, boost::system::error_code& error);
  void WriteTls(absl::string_view bytes, OnWritten on_written);

  boost::asio::ip::tcp::socket socket_;
  SslSession session_;
  bool read_wants_write_ = false;  // the handshake has to send before it can read on
  bool failed_ = false;            // the session cannot be used any more
};

}  // namespace baton::gateway
