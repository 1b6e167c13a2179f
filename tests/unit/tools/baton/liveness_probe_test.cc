#include "tools/baton/liveness_probe.h"

#include <algorithm>
#include <atomic>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "gtest/gtest.h"

#include "common/metrics/small_http_server.h"
#include "tools/baton/awake_clock.h"

namespace baton {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(3);
const absl::Time kStart = absl::FromUnixSeconds(1000);

// Drives the probe at `now` until its question is answered or its connection has failed.
void AskOnce(LivenessProbe* probe, absl::Time now) {
  probe->Advance(now);
  while (probe->fd() >= 0) {
    pollfd watched{probe->fd(), probe->events(), 0};
    ASSERT_EQ(poll(&watched, 1, 10000), 1);
    probe->Advance(now);
  }
}

class Answering : public testing::Test {
 protected:
  const std::unique_ptr<SmallHttpServer> server_ =
      SmallHttpServer::Create("127.0.0.1:0", [this](const std::string& path) {
        EXPECT_EQ(path, "/health/live");
        return SmallHttpReply{code_.load(), "text/plain", "words"};
      }).value();
  std::atomic<int> code_{200};
};

TEST_F(Answering, IsWellWhileItAnswers) {
  LivenessProbe probe(kPatience);
  EXPECT_FALSE(probe.hangs(kStart));
  probe.Start(server_->port(), kStart);
  absl::Time now = kStart;
  for (int i = 0; i < 10; ++i) {
    now = probe.next_due();
    AskOnce(&probe, now);
    EXPECT_FALSE(probe.hangs(now)) << i;
  }
  EXPECT_EQ(now - kStart, 10 * kPatience / 3);
}

TEST_F(Answering, HangsIfItSaysSoForTooLong) {
  LivenessProbe probe(kPatience);
  code_ = 503;
  probe.Start(server_->port(), kStart);
  AskOnce(&probe, kStart + kPatience / 2);
  EXPECT_FALSE(probe.hangs(kStart + kPatience / 2));
  AskOnce(&probe, kStart + kPatience);
  EXPECT_TRUE(probe.hangs(kStart + kPatience));
}

TEST_F(Answering, HasNoExcuseIfItSaysSo) {
  LivenessProbe probe(kPatience);
  code_ = 503;
  probe.Start(server_->port(), kStart);
  AskOnce(&probe, kStart + kPatience / 2);
  EXPECT_FALSE(probe.Excuse(kStart + kPatience));
  code_ = 200;
  AskOnce(&probe, kStart + kPatience);
  EXPECT_TRUE(probe.Excuse(kStart + kPatience));
}

TEST_F(Answering, RecoversWhenItAnswersInTime) {
  LivenessProbe probe(kPatience);
  code_ = 503;
  probe.Start(server_->port(), kStart);
  AskOnce(&probe, kStart + kPatience / 2);
  code_ = 200;
  AskOnce(&probe, kStart + kPatience * 0.9);
  EXPECT_FALSE(probe.hangs(kStart + kPatience));
}

TEST(LivenessProbe, OneWithAReasonGetsTimeButNotForEver) {
  LivenessProbe probe(kPatience);
  probe.Start(1, kStart);
  EXPECT_FALSE(probe.late(kStart + kPatience / 3));
  EXPECT_TRUE(probe.late(kStart + kPatience / 2));
  absl::Time now = kStart + kPatience;
  for (int i = 0; i < 27; ++i) {
    ASSERT_TRUE(probe.hangs(now)) << i;
    ASSERT_TRUE(probe.Excuse(now)) << i;
    ASSERT_FALSE(probe.hangs(now)) << i;
    ASSERT_FALSE(probe.hangs(now + kPatience / 3 - absl::Milliseconds(1))) << i;
    now += kPatience / 3;
  }
  EXPECT_TRUE(probe.hangs(now));
  EXPECT_FALSE(probe.Excuse(now)) << "ten times the patience";
  probe.Start(1, now);
  EXPECT_FALSE(probe.late(now));
  EXPECT_FALSE(probe.hangs(now));
}

// A machine that stands still for `standstill`, `phase` after the watcher's last good answer: the
// watcher sleeps until something is due, and overslept if the standstill fell into that.
bool HangsAfterStandstill(LivenessProbe* probe, absl::Duration phase, absl::Duration standstill) {
  AwakeClock clock(kStart);
  absl::Time now = kStart;
  const absl::Time frozen = kStart + phase;
  while (now <= frozen) {
    const absl::Duration planned = std::max(probe->next_due() - clock.now(), kPatience / 10);
    now += planned;
    if (now > frozen) now = std::max(now, frozen + standstill);
    clock.EndTurn(now, planned);
    if (probe->fd() < 0) probe->Advance(clock.now());  // asks; the answer is not read yet
    if (probe->hangs(clock.now())) return true;
  }
  AskOnce(probe, clock.now());  // all run on
  return probe->hangs(clock.now());
}

TEST_F(Answering, AMachineThatStoodStillMakesNobodyHang) {
  for (const double times : {0.3, 0.8, 1.0, 1.5, 20.0}) {
    // Until its answer is overdue in any case.
    for (double phase = 0; phase < 0.5; phase += 0.05) {
      LivenessProbe probe(kPatience);
      probe.Start(server_->port(), kStart);
      EXPECT_FALSE(HangsAfterStandstill(&probe, phase * kPatience, times * kPatience))
          << times << " of the patience, at " << phase;
    }
  }
}

TEST(AwakeClock, CountsNoMoreThanATurnWasToTake) {
  AwakeClock clock(kStart);
  clock.EndTurn(kStart + absl::Seconds(1), absl::Seconds(2));
  EXPECT_EQ(clock.now(), kStart + absl::Seconds(1));
  clock.EndTurn(kStart + absl::Seconds(100), absl::Seconds(2));
  EXPECT_EQ(clock.now(), kStart + absl::Seconds(3));
  clock.EndTurn(kStart + absl::Seconds(101), absl::Seconds(2));
  EXPECT_EQ(clock.now(), kStart + absl::Seconds(4));
}

// The kernel takes connections for a process that is stopped; nobody ever answers.
TEST(LivenessProbe, HangsWithoutAnAnswer) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  LivenessProbe probe(kPatience);
  probe.Start(ntohs(address.sin_port), kStart);
  probe.Advance(probe.next_due());
  EXPECT_GE(probe.fd(), 0);
  absl::Time now;
  do {
    EXPECT_FALSE(probe.hangs(now = probe.next_due()) && now < kStart + kPatience) << now;
    probe.Advance(now);
  } while (now < kStart + kPatience);
  EXPECT_EQ(now, kStart + kPatience);
  EXPECT_TRUE(probe.hangs(now));
  probe.Stop();
  EXPECT_EQ(probe.fd(), -1);
  EXPECT_EQ(probe.next_due(), absl::InfiniteFuture());
  close(listener);
}

}  // namespace
}  // namespace baton
