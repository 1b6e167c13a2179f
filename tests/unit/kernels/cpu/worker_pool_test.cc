#include "kernels/cpu/worker_pool.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels::cpu {
namespace {

TEST(WorkerPool, RunsEveryTaskOnce) {
  for (int threads : {1, 2, 4}) {
    WorkerPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (int64_t num_tasks : {0, 1, 2, 3, 100}) {
      std::vector<std::atomic<int>> runs(num_tasks);
      pool.Run(num_tasks, [&](int64_t index, int thread) {
        EXPECT_TRUE(thread >= 0 && thread < threads);
        ++runs[index];
      });
      for (const std::atomic<int>& count : runs) EXPECT_EQ(count, 1);
    }
  }
}

TEST(WorkerPool, ShowsTheCallerWhatTasksWrote) {
  WorkerPool pool(3);
  std::vector<int64_t> values(64);
  for (int64_t round = 1; round <= 500; ++round) {
    pool.Run(64, [&](int64_t index, int) { values[index] += index; });
    ASSERT_TRUE(std::all_of(values.begin(), values.end(), [&](const int64_t& value) {
      return value == round * (&value - values.data());
    }));
  }
}

TEST(WorkerPool, GivesEachThreadItsOwnNumber) {
  WorkerPool pool(4);
  std::vector<std::atomic<int>> users(4);
  std::atomic<bool> shared{false};
  pool.Run(2000, [&](int64_t, int thread) {
    if (users[thread].fetch_add(1) != 0) shared = true;
    users[thread].fetch_sub(1);
  });
  EXPECT_FALSE(shared);
}

TEST(WorkerPool, EndsWithoutHavingWorked) { WorkerPool pool(4); }

}  // namespace
}  // namespace baton::kernels::cpu
