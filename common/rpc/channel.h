// Channels to other roles, with the keepalive and size limits that the design asks for.
#pragma once

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "grpcpp/channel.h"

#include "common/rpc/rpc_identity.h"

namespace baton {

// How much of a stream may have come that its reader has not taken.
enum class StreamWindow {
  kGrowing,  // gRPC's own measure: 4 MiB and more
  kSmall,    // 256 KiB
};

// A channel to "host:port", where a process that is `role` answers ("scheduler"). Connects lazily;
// tries again every 100 ms while a call waits for it, and asks for the host's address again once a
// second; gRPC's own retries are off. A name that is not known yet is asked for ever more rarely,
// up to two minutes apart: who waits for one makes another channel.
std::shared_ptr<grpc::Channel> CreateChannel(const std::string& address, absl::string_view role,
                                             const RpcIdentity& identity,
                                             StreamWindow window = StreamWindow::kGrowing);

}  // namespace baton
