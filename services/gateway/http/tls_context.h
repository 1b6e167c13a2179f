// Certificates of the HTTP API, read again when their files change.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "openssl/ssl.h"

namespace baton::gateway {

enum class ClientCertificates { kNone, kOptional, kRequired };

struct TlsOptions {
  std::string certificate_file;  // PEM, with the chain; empty: no TLS
  std::string key_file;          // PEM; empty: in certificate_file
  std::string ca_file;           // PEM: who signs the certificates of clients
  ClientCertificates clients = ClientCertificates::kNone;
};

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslSession = std::unique_ptr<SSL, SslFree>;

// TLS 1.2 and 1.3, HTTP/1.1 only. On one thread.
class TlsContext final {
 public:
  // Errors: InvalidArgument naming the file and what OpenSSL says of it.
  static absl::StatusOr<std::unique_ptr<TlsContext>> Create(TlsOptions options);

  // The server's side of a connection on this socket, which does not block; null: out of memory.
  // When files have changed, new sessions have what they hold now; files that are wrong are logged,
  // and what was read before goes on.
  SslSession NewSession(int socket);

 private:
  using SslContext = std::unique_ptr<SSL_CTX, SslFree>;
  using Stamps = std::array<int64_t, 3>;  // times at which the files were written

  explicit TlsContext(TlsOptions options) : options_(std::move(options)) {}
  static absl::StatusOr<SslContext> Read(const TlsOptions& options);
  Stamps ReadStamps() const;
  void ReadAgainIfChanged();

  const TlsOptions options_;
  SslContext context_;
  Stamps stamps_{};
  absl::Time looked_ = absl::InfinitePast();
};

}  // namespace baton::gateway
