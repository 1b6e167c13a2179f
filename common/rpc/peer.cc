#include "common/rpc/peer.h"

#include <array>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "common/config/release.h"

namespace baton {
namespace {

constexpr size_t kMaxRoleBytes = 64;
constexpr size_t kMaxInstanceBytes = 256;

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "unknown-host";
  return name.data();
}

}  // namespace

v1::PeerInfo MakePeerInfo(absl::string_view role) {
  v1::PeerInfo peer;
  peer.mutable_version()->set_major(kProtocolMajor);
  peer.mutable_version()->set_minor(kProtocolMinor);
  peer.set_role(std::string(role));
  const std::string host = HostName();
  peer.set_instance(absl::StrCat(host.substr(0, 200), ":", getpid()));
  peer.set_release(std::string(kRelease));
  return peer;
}

absl::Status CheckPeer(const v1::PeerInfo& peer, absl::string_view own_role) {
  if (peer.role().size() > kMaxRoleBytes || peer.instance().size() > kMaxInstanceBytes ||
      peer.release().size() > kMaxRoleBytes)
    return absl::InvalidArgumentError(
        absl::StrCat("peer's role, instance or release is over its limit: ", peer.role().size(),
                     ", ", peer.instance().size(), ", ", peer.release().size(), " bytes of ",
                     kMaxRoleBytes, ", ", kMaxInstanceBytes, ", ", kMaxRoleBytes));
  if (peer.version().major() == kProtocolMajor) return absl::OkStatus();
  const std::string who =
      absl::StrCat(peer.role().empty() ? "peer without a role" : peer.role(), " (",
                   peer.instance().empty() ? "no instance" : peer.instance(), ")");
  const std::string speaks =
      peer.has_version()
          ? absl::StrCat("speaks protocol ", peer.version().major(), ".", peer.version().minor())
          : "names no protocol version";
  return absl::FailedPreconditionError(absl::StrCat(
      who, " ", speaks, "; this ", own_role, " speaks ", kProtocolMajor, ".", kProtocolMinor));
}

}  // namespace baton
