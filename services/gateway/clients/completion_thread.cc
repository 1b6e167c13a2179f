#include "services/gateway/clients/completion_thread.h"

#include <utility>

#include "grpc/support/time.h"

namespace baton::gateway {

CompletionThread::CompletionThread() {
  thread_ = std::thread([this] {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) static_cast<Operation*>(tag)->OnCompleted(ok);
  });
}

CompletionThread::~CompletionThread() {
  queue_.Shutdown();
  thread_.join();
}

void CompletionThread::Post(std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  posted_.push_back(std::move(work));
  // Due at once: it is an event that wakes the thread.
  if (posted_.size() == 1) alarm_.Set(&queue_, gpr_time_0(GPR_CLOCK_MONOTONIC), &posted_work_);
}

void CompletionThread::PostedWork::OnCompleted(bool) {
  std::vector<std::function<void()>> posted;
  {
    absl::MutexLock lock(&owner_.mutex_);
    posted.swap(owner_.posted_);
  }
  for (const std::function<void()>& work : posted) work();
}

}  // namespace baton::gateway
