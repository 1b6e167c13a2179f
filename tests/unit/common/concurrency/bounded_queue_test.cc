#include "common/concurrency/bounded_queue.h"

#include <memory>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

absl::Time Soon() { return absl::Now() + absl::Seconds(30); }

TEST(BoundedQueue, KeepsOrder) {
  BoundedQueue<int> queue(3);
  EXPECT_TRUE(queue.TryPush(1));
  EXPECT_TRUE(queue.TryPush(2));
  EXPECT_EQ(queue.Pop(Soon()), 1);
  EXPECT_EQ(queue.Pop(Soon()), 2);
}

TEST(BoundedQueue, RefusesWhenFull) {
  BoundedQueue<int> queue(1);
  EXPECT_TRUE(queue.TryPush(1));
  EXPECT_FALSE(queue.TryPush(2));
  EXPECT_EQ(queue.size(), 1u);
}

TEST(BoundedQueue, PopGivesUpAtTheDeadline) {
  BoundedQueue<int> queue(1);
  EXPECT_EQ(queue.Pop(absl::Now() - absl::Seconds(1)), std::nullopt);
}

TEST(BoundedQueue, DrainsAfterCloseAndRefusesPushes) {
  BoundedQueue<std::unique_ptr<int>> queue(2);
  ASSERT_TRUE(queue.TryPush(std::make_unique<int>(7)));
  queue.Close();
  EXPECT_FALSE(queue.TryPush(std::make_unique<int>(8)));
  EXPECT_EQ(**queue.Pop(Soon()), 7);
  EXPECT_EQ(queue.Pop(absl::InfiniteFuture()), std::nullopt);
}

TEST(BoundedQueue, CloseWakesAWaiter) {
  BoundedQueue<int> queue(1);
  std::optional<int> seen = 1;
  std::thread waiter([&] { seen = queue.Pop(absl::InfiniteFuture()); });
  queue.Close();
  waiter.join();
  EXPECT_EQ(seen, std::nullopt);
}

TEST(BoundedQueue, LosesNothingBetweenThreads) {
  constexpr int kPerThread = 2000;
  BoundedQueue<int> queue(16);
  std::vector<std::thread> producers;
  for (int producer = 0; producer < 3; ++producer)
    producers.emplace_back([&] {
      for (int i = 1; i <= kPerThread; ++i)
        while (!queue.TryPush(i)) std::this_thread::yield();
    });
  int64_t sum = 0;
  for (int i = 0; i < 3 * kPerThread; ++i) sum += queue.Pop(Soon()).value_or(0);
  for (std::thread& producer : producers) producer.join();
  EXPECT_EQ(sum, int64_t{3} * kPerThread * (kPerThread + 1) / 2);
}

}  // namespace
}  // namespace baton
