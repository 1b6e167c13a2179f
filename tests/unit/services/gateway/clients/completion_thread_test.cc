#include "services/gateway/clients/completion_thread.h"

#include <thread>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

TEST(CompletionThread, RunsWhatIsPostedInOrderOnOneThread) {
  CompletionThread completions;
  std::vector<int> order;  // the thread's
  std::vector<std::thread::id> threads;
  constexpr int kCount = 1000;
  absl::BlockingCounter left(kCount);
  for (int i = 0; i < kCount; ++i) {
    completions.Post([&, i] {
      order.push_back(i);
      threads.push_back(std::this_thread::get_id());
      left.DecrementCount();
    });
  }
  left.Wait();
  ASSERT_EQ(order.size(), static_cast<size_t>(kCount));
  for (int i = 0; i < kCount; ++i) {
    EXPECT_EQ(order[i], i);
    EXPECT_EQ(threads[i], threads[0]);
  }
  EXPECT_NE(threads[0], std::this_thread::get_id());
}

TEST(CompletionThread, WorkMayPostMore) {
  CompletionThread completions;
  absl::BlockingCounter left(3);
  completions.Post([&] {
    left.DecrementCount();
    completions.Post([&] {
      left.DecrementCount();
      completions.Post([&] { left.DecrementCount(); });
    });
  });
  left.Wait();
}

}  // namespace
}  // namespace baton::gateway
