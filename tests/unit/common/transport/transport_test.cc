#include "common/transport/transport.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/unit/common/transport/transport_inputs.h"

namespace baton {
namespace {

class TransportOver : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Transport> MakeTransport(const char* name) {
    auto transport =
        Transport::Create({.name = name,
                           .transports = GetParam(),
                           .net_devices = absl::string_view(GetParam()) == "tcp" ? "lo" : ""});
    EXPECT_TRUE(transport.ok()) << transport.status();
    return *std::move(transport);
  }
};

INSTANTIATE_TEST_SUITE_P(Both, TransportOver, testing::Values("tcp", "sm"),
                         [](const auto& test) { return std::string(test.param); });

// Sets a variable of the environment, and what it was when it goes.
class Environment {
 public:
  explicit Environment(const char* name) : name_(name) {
    if (const char* value = std::getenv(name)) former_ = value;
  }
  ~Environment() { former_.has_value() ? Set(former_->c_str()) : Clear(); }
  void Set(const char* value) const { setenv(name_, value, /*overwrite=*/1); }
  void Clear() const { unsetenv(name_); }
  std::string Get() const {
    const char* value = std::getenv(name_);
    return value == nullptr ? "" : value;
  }

 private:
  const char* const name_;
  std::optional<std::string> former_;
};

TEST(TransportEnvironment, LengthensFramesOverTcpWhereTheUserSaysNothing) {
  const Environment length("UCX_TCP_RX_SEG_SIZE");
  length.Clear();
  PrepareTransportEnvironment();
  EXPECT_EQ(length.Get(), "1m");
  length.Set("128k");
  PrepareTransportEnvironment();
  EXPECT_EQ(length.Get(), "128k");
}

TEST_P(TransportOver, RefusesForgedHellos) {
  const auto a = MakeTransport("alice");
  const auto b = MakeTransport("bob");
  const auto c = MakeTransport("carol");
  BufferReceiver receiver(64);
  b->SetReceiver(FrameKind::kCredit, &receiver);
  const auto peer = *a->Connect(b->address(), Soon());
  // An address that ends before UCX has read it, and somebody else's under alice's source.
  ASSERT_TRUE(SendHello(*peer, "short").ok());
  ASSERT_TRUE(SendHello(*peer, c->address()).ok());
  ASSERT_TRUE(SendAndWait(*peer, {.kind = FrameKind::kCredit}, {}).ok());
  ASSERT_TRUE(receiver.WaitForFrames(1).ok());
  EXPECT_EQ(b->counters().frames_refused, 2u);
  EXPECT_EQ(b->FindPeer(a->source())->name(), "alice");
  b->SetReceiver(FrameKind::kCredit, nullptr);
}

TEST_P(TransportOver, TellsWhoConnected) {
  const auto a = MakeTransport("alice");
  const auto b = MakeTransport("bob");
  const auto peer = a->Connect(b->address(), Soon());
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ((*peer)->name(), "bob");
  EXPECT_EQ((*peer)->source(), b->source());
  const auto back = b->FindPeer(a->source());
  ASSERT_NE(back, nullptr);
  EXPECT_EQ(back->name(), "alice");
  const std::string transport = (*peer)->DescribeTransport();
  EXPECT_NE(transport.find(absl::string_view(GetParam()) == "tcp" ? "tcp" : "memory"),
            std::string::npos)
      << transport;
}

TEST_P(TransportOver, GivesTheSamePeerForTheSameAddress) {
  const auto a = MakeTransport("alice");
  const auto b = MakeTransport("bob");
  const auto first = a->Connect(b->address(), Soon());
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(*a->Connect(b->address(), Soon()), *first);
}

TEST_P(TransportOver, CarriesPayloadsOfEverySize) {
  const auto a = MakeTransport("alice");
  const auto b = MakeTransport("bob");
  BufferReceiver receiver(5 << 20);
  b->SetReceiver(FrameKind::kHiddenState, &receiver);
  const auto peer = a->Connect(b->address(), Soon());
  ASSERT_TRUE(peer.ok()) << peer.status();
  size_t frames = 0;
  for (const size_t size : {0u, 1u, 511u, 4096u, 14336u, 32767u, 32769u, 300001u, 4u << 20}) {
    const auto payload = RandomBytes(size, static_cast<uint32_t>(size));
    const FrameHeader header = {.kind = FrameKind::kHiddenState,
                                .epoch = 3,
                                .stream_id = 17,
                                .offset = 64,
                                .total_bytes = 64 + size,
                                .rank = 2};
    ASSERT_TRUE(SendAndWait(**peer, header, payload).ok());
    ASSERT_TRUE(receiver.WaitForFrames(++frames).ok()) << size;
    EXPECT_EQ(receiver.last_header().stream_id, 17u);
    EXPECT_EQ(receiver.last_header().source, a->source());
    EXPECT_TRUE(receiver.Holds(64, payload)) << size;
  }
  EXPECT_EQ(b->counters().frames_refused, 0u);
  b->SetReceiver(FrameKind::kHiddenState, nullptr);
}

// Some set it to 0, so that long payloads of GPUs are fetched.
TEST_P(TransportOver, ConnectsWhateverTheThresholdOfRendezvousIs) {
  const Environment threshold("UCX_RNDV_THRESH");
  threshold.Set("0");
  const auto a = MakeTransport("alice");
  const auto b = MakeTransport("bob");
  BufferReceiver receiver(1 << 20);
  b->SetReceiver(FrameKind::kHiddenState, &receiver);
  const auto peer = a->Connect(b->address(), Soon());
  ASSERT_TRUE(peer.ok()) << peer.status();
  size_t frames = 0;
  for (const size_t size : {0u, 24u, 512u, 4096u, 5000u, 700001u}) {
    const auto payload = RandomBytes(size, static_cast<uint32_t>(size));
    ASSERT_TRUE(
        SendAndWait(**peer, {.kind = FrameKind::kHiddenState, .total_bytes = size}, payload).ok());
    ASSERT_TRUE(receiver.WaitForFrames(++frames).ok()) << size;
    EXPECT_TRUE(receiver.Holds(0, payload)) << size;
  }
  EXPECT_EQ(b->counters().frames_refused, 0u);
  b->SetReceiver(FrameKind::kHiddenState, nullptr);
}

TEST_P(TransportOver, RefusesAFlippedBitShortAndLong) {
  const auto a = MakeTransport("alice");
  const auto b = MakeTransport("bob");
  BufferReceiver receiver(1 << 20);
  b->SetReceiver(FrameKind::kHiddenState, &receiver);
  const auto peer = a->Connect(b->address(), Soon());
  ASSERT_TRUE(peer.ok()) << peer.status();
  size_t frames = 0;
  for (const size_t size : {100u, 1u << 20}) {
    const auto payload = RandomBytes(size, 1);
    FrameHeader header = {.kind = FrameKind::kHiddenState, .total_bytes = size};
    header.payload_crc = 0x12345678;
    ASSERT_TRUE(SendAndWait(**peer, header, payload, /*has_payload_crc=*/true).ok());
    EXPECT_EQ(receiver.WaitForFrames(++frames).code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(b->counters().frames_refused, 2u);
  b->SetReceiver(FrameKind::kHiddenState, nullptr);
}

TEST_P(TransportOver, RefusesWhatTheReceiverRefusesAndGoesOn) {
  const auto a = MakeTransport("alice");
  const auto b = MakeTransport("bob");
  BufferReceiver receiver(1000);
  b->SetReceiver(FrameKind::kHiddenState, &receiver);
  const auto peer = a->Connect(b->address(), Soon());
  ASSERT_TRUE(peer.ok()) << peer.status();
  for (const size_t size : {1001u, 1u << 20}) {
    const auto payload = RandomBytes(size, 1);
    ASSERT_TRUE(
        SendAndWait(**peer, {.kind = FrameKind::kHiddenState, .total_bytes = size}, payload).ok());
  }
  const auto payload = RandomBytes(1000, 1);
  ASSERT_TRUE(
      SendAndWait(**peer, {.kind = FrameKind::kHiddenState, .total_bytes = 1000}, payload).ok());
  EXPECT_TRUE(receiver.WaitForFrames(1).ok());
  EXPECT_EQ(b->counters().frames_refused, 2u);
  b->SetReceiver(FrameKind::kHiddenState, nullptr);
}

TEST_P(TransportOver, FailsSendsAfterThePartnerHasGone) {
  const auto a = MakeTransport("alice");
  auto b = MakeTransport("bob");
  BufferReceiver receiver(1);
  a->SetReceiver(FrameKind::kCredit, &receiver);
  const auto peer = a->Connect(b->address(), Soon());
  ASSERT_TRUE(peer.ok()) << peer.status();
  const uint64_t source = b->source();
  b.reset();
  EXPECT_TRUE(receiver.WaitForLoss(source));
  EXPECT_EQ((*peer)->status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(SendAndWait(**peer, {.kind = FrameKind::kCredit}, {}).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(a->FindPeer(source), nullptr);
  a->SetReceiver(FrameKind::kCredit, nullptr);
}

TEST_P(TransportOver, RefusesImpossibleAddresses) {
  const auto a = MakeTransport("alice");
  EXPECT_EQ(a->Connect("", Soon()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(a->Connect(std::string(5000, 'x'), Soon()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Transport, NamesTransportsThatAreNotThere) {
  const auto transport = Transport::Create({.name = "x", .transports = "no_such_transport"});
  EXPECT_EQ(transport.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(transport.status().message().find("no_such_transport"), std::string::npos);
}

}  // namespace
}  // namespace baton
