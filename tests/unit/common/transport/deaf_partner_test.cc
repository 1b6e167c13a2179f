// A partner whose host answers nothing, as one that was cut off the network.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
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

// What another transport's address would be if it listened on `port`; empty, and a failure, if it
// does not say where it listens.
std::string AddressAt(in_port_t port) {
  // The port's bytes may be among the random ones of an address as well: 1 in some 3,000.
  for (int i = 0; i < 8; ++i) {
    const std::set<in_port_t> before = ListeningPorts();
    const auto transport = MakeTransport("far");
    std::set<in_port_t> after = ListeningPorts();
    for (const in_port_t known : before) after.erase(known);
    if (after.size() != 1) break;
    std::string address(transport->address());
    const std::string own(reinterpret_cast<const char*>(&*after.begin()), sizeof(in_port_t));
    const size_t place = address.find(own);
    if (place == std::string::npos) break;
    if (address.find(own, place + 1) != std::string::npos) continue;
    std::memcpy(address.data() + place, &port, sizeof(port));
    return address;
  }
  ADD_FAILURE() << "a transport listens on no port, on several, or on one that is there twice";
  return "";
}

// Frames that go one by one to a receiver while another thread asks for a connection.
class FrameSender {
 public:
  FrameSender(Transport* transport, Peer* peer, BufferReceiver* receiver)
      : transport_(transport), peer_(peer), receiver_(receiver) {}

  // The longest that one of them took to arrive while somebody asked for a connection to `address`,
  // which is not to be had within `timeout`.
  absl::Duration LongestDuringConnect(const std::string& address, absl::Duration timeout) {
    absl::Status status;
    std::atomic<bool> done = false;
    std::thread caller([&] {
      status = transport_->Connect(address, SteadyNow() + timeout).status();
      done = true;
    });
    absl::Duration longest;
    while (!done) {
      const absl::Time begin = SteadyNow();
      EXPECT_TRUE(SendAndWait(*peer_, {.kind = FrameKind::kCredit}, {}).ok());
      EXPECT_TRUE(receiver_->WaitForFrames(++num_sent_).ok());
      longest = std::max(longest, SteadyNow() - begin);
    }
    caller.join();
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
    return longest;
  }

 private:
  Transport* const transport_;
  Peer* const peer_;
  BufferReceiver* const receiver_;
  size_t num_sent_ = 0;
};

// It costs its own deadline alone: a system call that waits for its host, for minutes, or a lock
// that is held meanwhile, would hold up every other connection.
TEST(DeafPartner, HoldsUpNobodyElse) {
  const DeafPort port;
  const auto a = MakeTransport("alice");
  const auto b = MakeTransport("bob");
  BufferReceiver receiver(64);
  b->SetReceiver(FrameKind::kCredit, &receiver);
  const auto peer = *a->Connect(b->address(), Soon());
  const std::string address = AddressAt(port.number());
  ASSERT_FALSE(address.empty());

  // A frame that waits for the connection takes all of its time, however much that is. One that
  // waits for a processor takes less of more time.
  FrameSender sender(a.get(), peer.get(), &receiver);
  const absl::Time limit = SteadyNow() + absl::Seconds(30);  // TCP itself gives up after 127 s
  absl::Duration timeout = absl::Milliseconds(300);
  absl::Duration longest = sender.LongestDuringConnect(address, timeout);
  while (longest > timeout / 2 && timeout < absl::Seconds(10) && SteadyNow() < limit) {
    timeout *= 4;
    longest = sender.LongestDuringConnect(address, timeout);
  }
  EXPECT_LE(longest, timeout / 2) << "a frame waited for the connection";
  b->SetReceiver(FrameKind::kCredit, nullptr);
}

}  // namespace
}  // namespace baton
