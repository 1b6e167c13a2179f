#include "common/rpc/identity_flags.h"

#include <string>

#include "absl/flags/flag.h"

ABSL_FLAG(std::string, rpc_cert_file, "",
          "PEM certificate of this process for gRPC with the other roles (mutual TLS); its URI is "
          "--rpc-identity-prefix and the role; empty: plaintext");
ABSL_FLAG(std::string, rpc_key_file, "", "PEM private key of --rpc-cert-file");
ABSL_FLAG(std::string, rpc_ca_file, "", "PEM certificates of the CA that all roles have theirs of");
ABSL_FLAG(std::string, rpc_identity_prefix, "spiffe://baton/",
          "what the roles' URIs in certificates begin with");

namespace baton {

absl::StatusOr<std::shared_ptr<const RpcIdentity>> ReadRpcIdentity(absl::string_view role) {
  IdentityFiles files;
  files.certificate = absl::GetFlag(FLAGS_rpc_cert_file);
  files.key = absl::GetFlag(FLAGS_rpc_key_file);
  files.ca = absl::GetFlag(FLAGS_rpc_ca_file);
  files.prefix = absl::GetFlag(FLAGS_rpc_identity_prefix);
  const int given = !files.certificate.empty() + !files.key.empty() + !files.ca.empty();
  if (given == 0) return RpcIdentity::Plaintext();
  if (given < 3)
    return absl::InvalidArgumentError(
        "mutual TLS needs --rpc-cert-file, --rpc-key-file and --rpc-ca-file, all three");
  return RpcIdentity::FromFiles(files, role);
}

}  // namespace baton
