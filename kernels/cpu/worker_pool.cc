#include "kernels/cpu/worker_pool.h"

#include "common/log/check.h"

namespace baton::kernels::cpu {

WorkerPool::WorkerPool(int num_threads) {
  BATON_CHECK(num_threads >= 1) << num_threads;
  for (int thread = 1; thread < num_threads; ++thread) {
    threads_.emplace_back([this, thread] { WorkerLoop(thread); });
  }
}

WorkerPool::~WorkerPool() {
  stop_ = true;
  start_.Advance();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Dispatch(const Job& job) {
  job_ = job;
  next_task_.store(0, std::memory_order_relaxed);
  num_active_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
  const uint32_t before = done_.Load();
  start_.Advance();
  TakeTasks(job, 0);
  done_.WaitWhile(before);
}

void WorkerPool::TakeTasks(const Job& job, int thread) {
  for (;;) {
    const int64_t index = next_task_.fetch_add(1, std::memory_order_relaxed);
    if (index >= job.num_tasks) return;
    job.call(job.context, index, thread);
  }
}

void WorkerPool::WorkerLoop(int thread) {
  for (uint32_t seen = 0;; ++seen) {
    start_.WaitWhile(seen);
    if (stop_) return;
    TakeTasks(job_, thread);
    if (num_active_.fetch_sub(1, std::memory_order_acq_rel) == 1) done_.Advance();
  }
}

}  // namespace baton::kernels::cpu
