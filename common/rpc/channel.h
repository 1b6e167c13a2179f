// Channels to other roles, with the keepalive and size limits that the design asks for.
#pragma once

#include <memory>
#include <string>

#include "grpcpp/channel.h"

namespace baton {

// A channel to "host:port". Connects lazily; tries again every 100 ms while a call waits for it;
// gRPC's own retries are off.
std::shared_ptr<grpc::Channel> CreateChannel(const std::string& address);

}  // namespace baton
