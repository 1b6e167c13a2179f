#include "tests/fakes/cuttable_channel.h"

#include <cstdint>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "absl/strings/str_cat.h"
#include "grpcpp/create_channel_posix.h"

namespace baton {

std::unique_ptr<CuttableChannel> CuttableChannel::Dial(int port) {
  const int dialled = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (dialled < 0) return nullptr;
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int own =
      connect(dialled, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0
          ? dup(dialled)
          : -1;
  if (own < 0) {
    close(dialled);
    return nullptr;
  }
  return std::unique_ptr<CuttableChannel>(new CuttableChannel(
      own, grpc::CreateInsecureChannelFromFd(absl::StrCat("127.0.0.1:", port), dialled)));
}

CuttableChannel::~CuttableChannel() { close(socket_); }

void CuttableChannel::Cut() { shutdown(socket_, SHUT_RDWR); }

}  // namespace baton
