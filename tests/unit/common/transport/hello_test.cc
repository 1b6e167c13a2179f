// How connections begin when hellos, answers or older connections are lost.
#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "common/transport/transport.h"
#include "tests/unit/common/transport/transport_inputs.h"

namespace baton {
namespace {

using Loses = std::function<bool(const FrameHeader&)>;

class HelloOver : public testing::TestWithParam<const char*> {
 protected:
  static std::unique_ptr<Transport> Make(const char* name, Loses lose = nullptr) {
    return *Transport::Create({.name = name,
                               .transports = GetParam(),
                               .net_devices = absl::string_view(GetParam()) == "tcp" ? "lo" : "",
                               .lose = std::move(lose)});
  }
  // Loses the first frame of a kind.
  static Loses LosesFirst(FrameKind kind) {
    auto done = std::make_shared<std::atomic<bool>>(false);
    return [kind, done](const FrameHeader& header) {
      return header.kind == kind && !done->exchange(true);
    };
  }
  // Notes the number of the last connection over which a hello came.
  static Loses NotesHellos(std::atomic<uint64_t>& number) {
    return [&number](const FrameHeader& header) {
      if (header.kind == FrameKind::kHello) number = header.stream_id;
      return false;
    };
  }
  // A frame arrives from either end at the other.
  static void ExpectBothWays(Transport& first, Transport& second, size_t payload_bytes = 0) {
    const std::vector<std::byte> payload(payload_bytes);
    for (const auto& [from, to] : {std::pair(&first, &second), std::pair(&second, &first)}) {
      const auto peer = from->FindPeer(to->source());
      ASSERT_NE(peer, nullptr);
      BufferReceiver receiver(payload_bytes);
      to->SetReceiver(FrameKind::kCredit, &receiver);
      const FrameHeader header = {.kind = FrameKind::kCredit, .total_bytes = payload_bytes};
      EXPECT_TRUE(SendAndWait(*peer, header, payload).ok());
      EXPECT_TRUE(receiver.WaitForFrames(1).ok());
      EXPECT_EQ(receiver.last_header().source, from->source());
      to->SetReceiver(FrameKind::kCredit, nullptr);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Both, HelloOver, testing::Values("tcp", "sm"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(HelloOver, IsSaidAgainWhenItIsLost) {
  const auto a = Make("alice");
  const auto b = Make("bob", LosesFirst(FrameKind::kHello));
  const auto peer = a->Connect(b->address(), Soon());
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ((*peer)->name(), "bob");
  ExpectBothWays(*a, *b);
}

TEST_P(HelloOver, IsSaidAgainWhenItsAnswerIsLost) {
  const auto a = Make("alice", LosesFirst(FrameKind::kHelloAnswer));
  const auto b = Make("bob");
  const auto peer = a->Connect(b->address(), Soon());
  ASSERT_TRUE(peer.ok()) << peer.status();
  ExpectBothWays(*a, *b);
}

TEST_P(HelloOver, ChangesNothingWhenItComesAgain) {
  std::atomic<uint64_t> number{0};
  const auto a = Make("alice");
  const auto b = Make("bob", NotesHellos(number));
  const auto peer = *a->Connect(b->address(), Soon());
  const auto back = b->FindPeer(a->source());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(SendHello(*peer, a->address(), number).ok());
  }
  ExpectBothWays(*a, *b);
  EXPECT_EQ(b->FindPeer(a->source()), back);
  EXPECT_EQ(*a->Connect(b->address(), Soon()), peer);
  EXPECT_EQ(a->counters().frames_refused, 0u);
  EXPECT_EQ(b->counters().frames_refused, 0u);
}

TEST_P(HelloOver, OfANewConnectionIsAnsweredOverAFreshOne) {
  const auto a = Make("alice");
  const auto b = Make("bob");
  BufferReceiver watcher(0);
  b->SetReceiver(FrameKind::kWeightChunk, &watcher);
  const auto peer = *a->Connect(b->address(), Soon());
  const auto back = b->FindPeer(a->source());
  peer->Fail(absl::UnavailableError("for the test"));
  ASSERT_TRUE(a->Connect(b->address(), Soon()).ok());
  EXPECT_TRUE(watcher.WaitForLoss(a->source()));
  EXPECT_FALSE(back->status().ok());
  EXPECT_NE(b->FindPeer(a->source()), back);
  ExpectBothWays(*a, *b);
  b->SetReceiver(FrameKind::kWeightChunk, nullptr);
}

TEST_P(HelloOver, OfAnOlderConnectionDoesNotTouchTheOneThatStands) {
  std::atomic<uint64_t> number{0};
  const auto a = Make("alice");
  const auto b = Make("bob", NotesHellos(number));
  (*a->Connect(b->address(), Soon()))->Fail(absl::UnavailableError("for the test"));
  const uint64_t older = number;
  const auto peer = a->Connect(b->address(), Soon());
  ASSERT_TRUE(peer.ok()) << peer.status();
  const auto back = b->FindPeer(a->source());
  const uint64_t refused = b->counters().frames_refused;
  ASSERT_TRUE(SendHello(**peer, a->address(), older).ok());
  ExpectBothWays(*a, *b);
  EXPECT_EQ(b->counters().frames_refused, refused + 1);
  EXPECT_EQ(b->FindPeer(a->source()), back);
  EXPECT_TRUE((*peer)->status().ok()) << (*peer)->status();
}

TEST_P(HelloOver, FarAheadDoesNotTouchTheOneThatStands) {
  const auto a = Make("alice");
  const auto b = Make("bob");
  const auto peer = *a->Connect(b->address(), Soon());
  const auto back = b->FindPeer(a->source());
  ASSERT_TRUE(SendHello(*peer, a->address(), 1'000'000).ok());
  ExpectBothWays(*a, *b);
  EXPECT_EQ(b->counters().frames_refused, 1u);
  EXPECT_EQ(b->FindPeer(a->source()), back);
}

// Each hello that was not heard opened an end that met none, more than are made up for at a time.
// Whoever connects next: the one that is ahead, or the one that is behind.
TEST_P(HelloOver, CatchesUpWithManyThatWereNotHeard) {
  for (const bool from_behind : {false, true}) {
    std::atomic<bool> deaf{true};
    const auto a = Make("alice");
    const auto b = Make("bob", [&deaf](const FrameHeader& header) {
      return header.kind == FrameKind::kHello && deaf;
    });
    // Each lasts until its socket stands: UCX 1.13 may end the process over many that are closed
    // while they connect.
    for (int i = 0; i < 20; ++i) {
      EXPECT_FALSE(a->Connect(b->address(), absl::Now() + absl::Milliseconds(10)).ok());
    }
    deaf = false;
    Transport& from = from_behind ? *b : *a;
    Transport& to = from_behind ? *a : *b;
    const auto peer = from.Connect(to.address(), Soon());
    ASSERT_TRUE(peer.ok()) << peer.status();
    ExpectBothWays(from, to);
  }
}

// The old connection's end and the partner's fresh hello come in one batch: nothing is closed yet.
TEST_P(HelloOver, TellsOfTheConnectionThatAFreshOneReplaces) {
  std::atomic<bool> ends{false};
  std::unique_ptr<Transport> b;
  const auto a = Make("alice");
  b = Make("bob", [&](const FrameHeader& header) {
    if (header.kind != FrameKind::kHello || !ends.exchange(false)) return false;
    const auto former = b->FindPeer(header.source);
    if (former != nullptr) former->Fail(absl::UnavailableError("for the test"));
    return false;
  });
  BufferReceiver watcher(0);
  b->SetReceiver(FrameKind::kWeightChunk, &watcher);
  const auto peer = *a->Connect(b->address(), Soon());
  const auto back = b->FindPeer(a->source());
  ends = true;
  peer->Fail(absl::UnavailableError("for the test"));
  ASSERT_TRUE(a->Connect(b->address(), Soon()).ok());
  EXPECT_TRUE(watcher.WaitForLoss(a->source()));
  EXPECT_FALSE(back->status().ok());
  ExpectBothWays(*a, *b);
  b->SetReceiver(FrameKind::kWeightChunk, nullptr);
}

// Others may use the connection that stands: who has no time for an answer leaves it alone.
TEST_P(HelloOver, BreaksNoConnectionForWantOfTime) {
  std::atomic<bool> silent{false};
  const auto a = Make("alice");
  const auto b = Make("bob", [&silent](const FrameHeader& header) {
    return header.kind == FrameKind::kHello && silent;
  });
  const auto peer = *a->Connect(b->address(), Soon());
  silent = true;
  const absl::Status late = a->Connect(b->address(), absl::Now()).status();
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded) << late;
  EXPECT_TRUE(peer->status().ok()) << peer->status();
  ExpectBothWays(*a, *b);
}

// Where only one end has lost the connection, nothing but the hello tells the other. Long payloads
// are fetched over the very pair of endpoints that UCX made of the two ends.
TEST_P(HelloOver, FindsItsWayBackManyTimes) {
  const auto a = Make("alice");
  const auto b = Make("bob");
  for (int i = 0; i < 50; ++i) {
    Transport& from = i % 2 == 0 ? *a : *b;
    Transport& to = i % 2 == 0 ? *b : *a;
    const auto peer = from.Connect(to.address(), Soon());
    ASSERT_TRUE(peer.ok()) << i << ": " << peer.status();
    ExpectBothWays(*a, *b, 1 << 20);
    if (HasFailure()) FAIL() << "time " << i;
    (*peer)->Fail(absl::UnavailableError("for the test"));
  }
}

}  // namespace
}  // namespace baton
