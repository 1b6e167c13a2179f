// A partner whose host answers nothing, as one that was cut off the network.
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "gtest/gtest.h"

#include "common/concurrency/steady_time.h"
#include "common/transport/transport.h"
#include "tests/unit/common/transport/transport_inputs.h"

namespace baton {
namespace {

// Ports of 127.0.0.1 on which this process listens, in the order of the network.
std::set<in_port_t> ListeningPorts() {
  constexpr int kMostFiles = 1024;
  std::set<in_port_t> ports;
  for (int fd = 0; fd < kMostFiles; ++fd) {
    int listens = 0;
    socklen_t length = sizeof(listens);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0 || listens == 0) continue;
    sockaddr_in address = {};
    length = sizeof(address);
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) continue;
    if (address.sin_family == AF_INET) ports.insert(address.sin_port);
  }
  return ports;
}

// Listens, and has as many connections already as it takes: the kernel drops what further ones say,
// as if the host were not there.
class DeafPort {
 public:
  DeafPort() {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    const int listener = Open();
    EXPECT_EQ(bind(listener, any, length), 0);
    EXPECT_EQ(listen(listener, 0), 0);
    EXPECT_EQ(getsockname(listener, any, &length), 0);
    port_ = address.sin_port;
    for (int i = 0; i < 4; ++i) connect(Open(), any, length);
  }
  ~DeafPort() {
    for (const int fd : sockets_) close(fd);
  }
  DeafPort(const DeafPort&) = delete;
  DeafPort& operator=(const DeafPort&) = delete;

  in_port_t number() const { return port_; }  // in the order of the network

 private:
  int Open() {
    sockets_.push_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    return sockets_.back();
  }

  std::vector<int> sockets_;
  in_port_t port_ = 0;
};

std::unique_ptr<Transport> MakeTransport(const char* name) {
  auto transport = Transport::Create({.name = name, .transports = "tcp", .net_devices = "lo"});
  EXPECT_TRUE(transport.ok()) << transport.status();
  return *std::move(transport);
}

// What another transport's address would be if it listened on `port`.
std::string AddressAt(in_port_t port) {
  std::set<in_port_t> before = ListeningPorts();
  const auto transport = MakeTransport("far");
  std::set<in_port_t> after = ListeningPorts();
  for (const in_port_t known : before) after.erase(known);
  EXPECT_EQ(after.size(), 1u);
  std::string address(transport->address());
  const std::string own(reinterpret_cast<const char*>(&*after.begin()), sizeof(in_port_t));
  const size_t place = address.find(own);
  EXPECT_NE(place, std::string::npos);
  EXPECT_EQ(address.find(own, place + 1), std::string::npos) << "the port is there twice";
  std::memcpy(address.data() + place, &port, sizeof(port));
  return address;
}

// It costs its own deadline alone: a system call that waits for its host, for minutes, would hold
// up every other connection.
TEST(DeafPartner, HoldsUpNobodyElse) {
  const DeafPort port;
  const auto a = MakeTransport("alice");
  const auto b = MakeTransport("bob");
  BufferReceiver receiver(64);
  b->SetReceiver(FrameKind::kCredit, &receiver);
  const auto peer = *a->Connect(b->address(), Soon());
  const absl::Time limit = SteadyNow() + absl::Seconds(30);  // TCP itself gives up after 127 s
  const auto far = a->Connect(AddressAt(port.number()), SteadyNow() + absl::Milliseconds(300));
  EXPECT_EQ(far.status().code(), absl::StatusCode::kDeadlineExceeded) << far.status();
  EXPECT_LT(SteadyNow(), limit);
  ASSERT_TRUE(SendAndWait(*peer, {.kind = FrameKind::kCredit}, {}).ok());
  ASSERT_TRUE(receiver.WaitForFrames(1).ok());
  b->SetReceiver(FrameKind::kCredit, nullptr);
}

}  // namespace
}  // namespace baton
