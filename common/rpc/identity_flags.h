// The flags --rpc-cert-file, --rpc-key-file, --rpc-ca-file and --rpc-identity-prefix of every role.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/rpc/rpc_identity.h"

namespace baton {

// The identity that the flags give a process that is `role`: plaintext without them. Errors:
// InvalidArgument if some are given and others not; RpcIdentity::FromFiles's.
absl::StatusOr<std::shared_ptr<const RpcIdentity>> ReadRpcIdentity(absl::string_view role);

}  // namespace baton
