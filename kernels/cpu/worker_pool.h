// Threads that run the tasks of one call at a time together with the caller.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "kernels/host/futex.h"

namespace baton::kernels::cpu {

// Between calls the threads spin for about 20 us, then sleep. Threads: one caller at a time.
class WorkerPool {
 public:
  // `num_threads` >= 1, the caller's included.
  explicit WorkerPool(int num_threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls task(index, thread) for every index in [0, num_tasks), in any order, on any thread in
  // [0, num_threads()); returns when all are done. Allocates nothing.
  template <typename Task>
  void Run(int64_t num_tasks, const Task& task) {
    if (threads_.empty() || num_tasks <= 1) {
      for (int64_t index = 0; index < num_tasks; ++index) task(index, 0);
      return;
    }
    Dispatch({[](const void* context, int64_t index, int thread) {
                (*static_cast<const Task*>(context))(index, thread);
              },
              &task, num_tasks});
  }

 private:
  struct Job {
    void (*call)(const void* context, int64_t index, int thread) = nullptr;
    const void* context = nullptr;
    int64_t num_tasks = 0;
  };

  void Dispatch(const Job& job);
  void TakeTasks(const Job& job, int thread);
  void WorkerLoop(int thread);

  // Written by the caller before start_ advances, while no worker is active.
  Job job_;
  bool stop_ = false;
  std::atomic<int64_t> next_task_{0};
  std::atomic<int> num_active_{0};  // workers that have not finished the job
  WaitableWord start_;              // advances once per job
  WaitableWord done_;               // advances when the last worker finishes
  std::vector<std::thread> threads_;
};

}  // namespace baton::kernels::cpu
