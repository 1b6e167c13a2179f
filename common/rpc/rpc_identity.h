// Who this process is to the other roles, and whom it speaks with: mutual TLS, or nothing at all.
//
// With files, every connection is TLS 1.2 or 1.3 with certificates of one private CA on both ends.
// A certificate names its role by its only URI (SPIFFE's form): the prefix, then the role, as in
// "spiffe://baton/stage-worker"; with the role as DNS name too, gRPC logs less. Who connects
// insists on the role that it wants to reach; who serves says which roles may call which service.
// The files are read again when they change: new connections use what they hold then, open ones go
// on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"

namespace baton {

struct IdentityFiles {
  std::string certificate;  // PEM: this process's certificate, then those between it and the CA
  std::string key;          // PEM, its private key
  std::string ca;           // PEM: certificates that peers are checked against
  std::string prefix = "spiffe://baton/";
  // How often changes are looked for; whole seconds, at least one.
  absl::Duration refresh = absl::Seconds(10);
};

// The roles that may call a service, by their names in certificates.
struct AllowedCallers {
  std::string service;  // "baton.v1.Stage"
  std::vector<std::string> roles;
};

// Threads: any.
class RpcIdentity {
 public:
  // No certificates: connections in the clear, callers unchecked.
  static std::shared_ptr<const RpcIdentity> Plaintext();

  // The identity of a process that is `role`. Errors, all naming the file: NotFound, or
  // InvalidArgument (not PEM, a key of another certificate, a certificate of another role, one that
  // has ended).
  static absl::StatusOr<std::shared_ptr<const RpcIdentity>> FromFiles(const IdentityFiles& files,
                                                                      absl::string_view role);

  virtual ~RpcIdentity() = default;

  // For a channel to a process that is `role`; to any other it does not connect.
  virtual std::shared_ptr<grpc::ChannelCredentials> ToReach(absl::string_view role) const = 0;

  // For a server. Without `callers` every holder of a certificate may call everything; with them, a
  // listed service its roles, health and reflection everybody, others nobody. A call of another
  // role ends with PermissionDenied naming role and service.
  virtual std::shared_ptr<grpc::ServerCredentials> ToServe(
      std::vector<AllowedCallers> callers) const = 0;
};

}  // namespace baton
