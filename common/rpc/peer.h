// The first words of every stream between roles: who, and which protocol version.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "protos/baton/v1/types.pb.h"

namespace baton {

inline constexpr uint32_t kProtocolMajor = 3;
inline constexpr uint32_t kProtocolMinor = 0;

// This process as `role`; the instance is "host:pid".
v1::PeerInfo MakePeerInfo(absl::string_view role);

// FailedPrecondition naming both versions and both roles if `peer` speaks another major version or
// none; InvalidArgument if its strings are over their limits.
absl::Status CheckPeer(const v1::PeerInfo& peer, absl::string_view own_role);

}  // namespace baton
