// A gRPC channel whose connection a test can cut, as the death of a process does.
#pragma once

#include <memory>

#include "grpcpp/channel.h"

namespace baton {

// One TCP connection, which is not made anew. Threads: any.
class CuttableChannel final {
 public:
  // Connects to 127.0.0.1:`port`; null if nobody listens there.
  static std::unique_ptr<CuttableChannel> Dial(int port);
  CuttableChannel(const CuttableChannel&) = delete;
  CuttableChannel& operator=(const CuttableChannel&) = delete;
  // Leaves the connection to those who still hold the channel.
  ~CuttableChannel();

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  // Both sides see the end of the connection. No call on it is cancelled first: the other side is
  // told nothing more.
  void Cut();

 private:
  CuttableChannel(int socket, std::shared_ptr<grpc::Channel> channel)
      : socket_(socket), channel_(std::move(channel)) {}

  const int socket_;  // another descriptor of the channel's
  const std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace baton
