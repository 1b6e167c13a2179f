#include "kernels/host/futex.h"

#include <thread>

#include "gtest/gtest.h"

namespace baton::kernels {
namespace {

TEST(WaitableWord, ReturnsAtOnceWhenTheWordHasChanged) {
  WaitableWord word;
  word.Advance();
  word.WaitWhile(0);
  EXPECT_EQ(word.Load(), 1u);
}

TEST(WaitableWord, HandsATurnBackAndForth) {
  constexpr uint32_t kTurns = 2000;
  WaitableWord ping;
  WaitableWord pong;
  int shared = 0;
  std::thread other([&] {
    for (uint32_t turn = 0; turn < kTurns; ++turn) {
      ping.WaitWhile(turn);
      ++shared;
      pong.Advance();
    }
  });
  for (uint32_t turn = 0; turn < kTurns; ++turn) {
    ++shared;
    ping.Advance();
    pong.WaitWhile(turn);
  }
  other.join();
  EXPECT_EQ(shared, 2 * static_cast<int>(kTurns));
}

TEST(WaitableWord, WakesEverySleeper) {
  WaitableWord word;
  WaitableWord woken;
  std::thread first([&] {
    word.WaitWhile(0);
    woken.Advance();
  });
  std::thread second([&] {
    word.WaitWhile(0);
    woken.Advance();
  });
  word.Advance();
  first.join();
  second.join();
  EXPECT_EQ(woken.Load(), 2u);
}

}  // namespace
}  // namespace baton::kernels
