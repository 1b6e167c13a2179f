// Channels to other roles, with the keepalive and size limits that the design asks for.
#pragma once

#include <memory>
#include <string>

#include "grpcpp/channel.h"

namespace baton {

// A channel to "host:port". Connects lazily; retries by backoff of 50 ms to 1 s; gRPC's own retries
// are off.
std::shared_ptr<grpc::Channel> CreateChannel(const std::string& address);

}  // namespace baton
