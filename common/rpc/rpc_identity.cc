#include "common/rpc/rpc_identity.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "grpcpp/security/auth_context.h"
#include "grpcpp/security/auth_metadata_processor.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"

#include "common/log/log.h"
#include "common/rpc/certificate.h"
#include "common/status/status_macros.h"
#include "grpc/grpc_security_constants.h"

namespace baton {
namespace {

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

class PlaintextIdentity final : public RpcIdentity {
 public:
  std::shared_ptr<grpc::ChannelCredentials> ToReach(absl::string_view) const override {
    return grpc::InsecureChannelCredentials();
  }
  std::shared_ptr<grpc::ServerCredentials> ToServe(std::vector<AllowedCallers>) const override {
    return grpc::InsecureServerCredentials();
  }
};

// Refused peers and calls come again and again: the first, second, fourth, ... of a process is
// logged.
void LogRefusal(const std::string& reason) {
  static std::atomic<uint64_t> refusals{0};
  const uint64_t count = ++refusals;
  if ((count & (count - 1)) == 0) BATON_LOG(WARNING) << "refusal " << count << ": " << reason;
}

// Accepts a server whose certificate has the wanted URI and no other; gRPC has checked the chain
// before.
class ServerUriVerifier final : public grpc::experimental::ExternalCertificateVerifier {
 public:
  explicit ServerUriVerifier(std::string uri) : uri_(std::move(uri)) {}

  bool Verify(grpc::experimental::TlsCustomVerificationCheckRequest* request,
              std::function<void(grpc::Status)>, grpc::Status* result) override {
    const std::vector<grpc::string_ref> uris = request->uri_names();
    if (uris.size() != 1 || uris[0] != uri_) {
      const std::string reason =
          absl::StrCat("wanted ", uri_, " but reached ",
                       absl::StrJoin(uris, ", ", [](std::string* out, grpc::string_ref uri) {
                         out->append(uri.data(), uri.size());
                       }));
      LogRefusal(reason);
      *result = grpc::Status(grpc::StatusCode::UNAUTHENTICATED, reason);
    }
    return true;  // decided here, not later
  }
  void Cancel(grpc::experimental::TlsCustomVerificationCheckRequest*) override {}

 private:
  const std::string uri_;
};

// Says for every call whether the caller's role may make it.
class CallerCheck final : public grpc::AuthMetadataProcessor {
 public:
  CallerCheck(const std::string& prefix, const std::vector<AllowedCallers>& callers) {
    for (const AllowedCallers& allowed : callers)
      for (const std::string& role : allowed.roles)
        uris_[allowed.service].push_back(absl::StrCat(prefix, role));
  }

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context, OutputMetadata*,
                       OutputMetadata*) override {
    const auto path = metadata.find(":path");
    if (path == metadata.end())
      return {grpc::StatusCode::PERMISSION_DENIED, "the call names no method"};
    const std::string method(path->second.data(), path->second.size());
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(absl::StripPrefix(method, "/"), absl::MaxSplits('/', 1));
    const auto allowed = uris_.find(parts.first);
    if (uris_.empty() || IsForEverybody(parts.first)) return grpc::Status::OK;
    if (allowed == uris_.end())
      return {grpc::StatusCode::PERMISSION_DENIED, absl::StrCat("nobody may call ", parts.first)};
    const std::vector<grpc::string_ref> names =
        context->FindPropertyValues(GRPC_PEER_SPIFFE_ID_PROPERTY_NAME);
    for (const std::string& uri : allowed->second)
      if (std::find(names.begin(), names.end(), uri) != names.end()) return grpc::Status::OK;
    const std::string reason = absl::StrCat(
        names.empty() ? "a caller without a role" : std::string(names[0].data(), names[0].size()),
        " may not call ", parts.first, "; ", absl::StrJoin(allowed->second, ", "), " may");
    LogRefusal(reason);
    return {grpc::StatusCode::PERMISSION_DENIED, reason};
  }

  static bool IsForEverybody(absl::string_view service) {
    return service == "grpc.health.v1.Health" || absl::StartsWith(service, "grpc.reflection.");
  }

 private:
  std::map<std::string, std::vector<std::string>> uris_;  // by service
};

class TlsIdentity final : public RpcIdentity {
 public:
  explicit TlsIdentity(const IdentityFiles& files)
      : prefix_(files.prefix),
        provider_(std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
            files.key, files.certificate, files.ca,
            static_cast<unsigned>(std::max<int64_t>(1, absl::ToInt64Seconds(files.refresh))))) {}

  std::shared_ptr<grpc::ChannelCredentials> ToReach(absl::string_view role) const override {
    grpc::experimental::TlsChannelCredentialsOptions options;
    SetCertificates(&options);
    options.set_verify_server_certs(true);
    options.set_check_call_host(false);  // addresses change, roles do not
    options.set_certificate_verifier(
        grpc::experimental::ExternalCertificateVerifier::Create<ServerUriVerifier>(
            absl::StrCat(prefix_, role)));
    return grpc::experimental::TlsCredentials(options);
  }

  std::shared_ptr<grpc::ServerCredentials> ToServe(
      std::vector<AllowedCallers> callers) const override {
    grpc::experimental::TlsServerCredentialsOptions options(provider_);
    SetCertificates(&options);
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    std::shared_ptr<grpc::ServerCredentials> credentials =
        grpc::experimental::TlsServerCredentials(options);
    credentials->SetAuthMetadataProcessor(std::make_shared<CallerCheck>(prefix_, callers));
    return credentials;
  }

 private:
  void SetCertificates(grpc::experimental::TlsCredentialsOptions* options) const {
    options->set_certificate_provider(provider_);
    options->watch_root_certs();
    options->watch_identity_key_cert_pairs();
  }

  const std::string prefix_;
  const std::shared_ptr<grpc::experimental::CertificateProviderInterface> provider_;
};

// Whether a prefix is "spiffe://DOMAIN/", perhaps with more path: gRPC knows callers by such URIs
// only.
bool IsTrustDomain(absl::string_view prefix) {
  return absl::ConsumePrefix(&prefix, "spiffe://") && absl::EndsWith(prefix, "/") &&
         !absl::StartsWith(prefix, "/");
}

absl::Status Naming(const std::string& path, const absl::Status& status) {
  return {status.code(), absl::StrCat(path, ": ", status.message())};
}

}  // namespace

std::shared_ptr<const RpcIdentity> RpcIdentity::Plaintext() {
  return std::make_shared<const PlaintextIdentity>();
}

absl::StatusOr<std::shared_ptr<const RpcIdentity>> RpcIdentity::FromFiles(
    const IdentityFiles& files, absl::string_view role) {
  if (!IsTrustDomain(files.prefix))
    return absl::InvalidArgumentError(absl::StrCat("the prefix of identities is \"", files.prefix,
                                                   "\", not spiffe://DOMAIN/..."));
  ASSIGN_OR_RETURN(const std::string certificate, ReadText(files.certificate));
  ASSIGN_OR_RETURN(const std::string key, ReadText(files.key));
  ASSIGN_OR_RETURN(const std::string ca, ReadText(files.ca));
  if (const absl::Status status = CheckHoldsCertificate(ca); !status.ok())
    return Naming(files.ca, status);
  const absl::StatusOr<CertificateFacts> facts = ReadCertificate(certificate, key);
  if (!facts.ok()) return Naming(absl::StrCat(files.certificate, ", ", files.key), facts.status());
  const std::string own = absl::StrCat(files.prefix, role);
  if (facts->uris != std::vector<std::string>{own})
    return absl::InvalidArgumentError(
        absl::StrCat(files.certificate, " is not a certificate of ", own,
                     "; its URIs: ", absl::StrJoin(facts->uris, ", ")));
  if (facts->not_after < absl::Now())
    return absl::InvalidArgumentError(
        absl::StrCat(files.certificate, " has ended at ", absl::FormatTime(facts->not_after)));
  BATON_LOG(INFO) << "mutual TLS as " << own << ", certificate good until "
                  << absl::FormatTime(facts->not_after, absl::UTCTimeZone());
  return std::make_shared<const TlsIdentity>(files);
}

}  // namespace baton
