#include "services/gateway/http/tls_context.h"

#include <sys/stat.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "openssl/err.h"

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace baton::gateway {
namespace {

// Files are looked at so often at most, and only when somebody connects.
constexpr absl::Duration kFilesPause = absl::Seconds(1);
constexpr absl::string_view kHttp11 = "\x08http/1.1";

absl::Status SslError(absl::string_view flag, const std::string& file) {
  char text[256] = "unknown error";
  if (const unsigned long code = ERR_get_error(); code != 0) {
    ERR_error_string_n(code, text, sizeof text);
  }
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat("--", flag, " ", file, ": ", text));
}

int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* length,
                   const unsigned char* offered, unsigned int offered_length, void*) {
  unsigned char* selected = nullptr;
  const int found = SSL_select_next_proto(
      &selected, length, reinterpret_cast<const unsigned char*>(kHttp11.data()),
      static_cast<unsigned int>(kHttp11.size()), offered, offered_length);
  *chosen = selected;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

int64_t WrittenAt(const std::string& path) {
  struct stat found {};
  if (path.empty() || stat(path.c_str(), &found) != 0) return 0;
  return found.st_mtim.tv_sec * int64_t{1'000'000'000} + found.st_mtim.tv_nsec;
}

}  // namespace

absl::StatusOr<TlsContext::SslContext> TlsContext::Read(const TlsOptions& options) {
  SslContext context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) return absl::InternalError("OpenSSL gives no context");
  SSL_CTX* const raw = context.get();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(raw, ChooseProtocol, nullptr);
  const std::string& key = options.key_file.empty() ? options.certificate_file : options.key_file;
  if (SSL_CTX_use_certificate_chain_file(raw, options.certificate_file.c_str()) != 1) {
    return SslError("ssl-certfile", options.certificate_file);
  }
  if (SSL_CTX_use_PrivateKey_file(raw, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(raw) != 1) {
    return SslError("ssl-keyfile", key);
  }
  if (options.clients == ClientCertificates::kNone) return context;
  if (SSL_CTX_load_verify_locations(raw, options.ca_file.c_str(), nullptr) != 1) {
    return SslError("ssl-ca-certs", options.ca_file);
  }
  // Without it sessions of clients with certificates are not taken up again but refused.
  constexpr unsigned char kSessions[] = "baton";
  SSL_CTX_set_session_id_context(raw, kSessions, sizeof kSessions);
  SSL_CTX_set_client_CA_list(raw, SSL_load_client_CA_file(options.ca_file.c_str()));
  const bool required = options.clients == ClientCertificates::kRequired;
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                     nullptr);
  return context;
}

absl::StatusOr<std::unique_ptr<TlsContext>> TlsContext::Create(TlsOptions options) {
  std::unique_ptr<TlsContext> made(new TlsContext(std::move(options)));
  made->stamps_ = made->ReadStamps();
  ASSIGN_OR_RETURN(made->context_, Read(made->options_));
  made->looked_ = SteadyNow();
  return made;
}

TlsContext::Stamps TlsContext::ReadStamps() const {
  return {WrittenAt(options_.certificate_file), WrittenAt(options_.key_file),
          WrittenAt(options_.ca_file)};
}

void TlsContext::ReadAgainIfChanged() {
  const absl::Time now = SteadyNow();
  if (now < looked_ + kFilesPause) return;
  looked_ = now;
  const Stamps stamps = ReadStamps();
  if (stamps == stamps_) return;
  absl::StatusOr<SslContext> context = Read(options_);
  if (!context.ok()) {
    // Certificate and key are written one after the other: looked at again with the next client.
    BATON_LOG(ERROR) << context.status().message() << "; the certificate stays what it was";
    return;
  }
  stamps_ = stamps;
  context_ = *std::move(context);
  BATON_LOG(INFO) << "--ssl-certfile " << options_.certificate_file << " was read again";
}

SslSession TlsContext::NewSession(int socket) {
  ReadAgainIfChanged();
  SslSession session(SSL_new(context_.get()));
  if (session == nullptr || SSL_set_fd(session.get(), socket) != 1) return nullptr;
  SSL_set_accept_state(session.get());
  return session;
}

}  // namespace baton::gateway
