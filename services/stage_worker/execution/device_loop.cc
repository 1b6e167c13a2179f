#include "services/stage_worker/execution/device_loop.h"

#include <optional>
#include <utility>

#include "common/concurrency/steady_mutex.h"

namespace baton::stage {

DeviceLoop::DeviceLoop(size_t capacity, Run run)
    : capacity_(capacity), run_(std::move(run)), steps_(capacity) {
  thread_ = std::thread([this] { Loop(); });
}

DeviceLoop::~DeviceLoop() { Stop(); }

bool DeviceLoop::TrySubmit(std::shared_ptr<const QueuedStep> step) {
  SteadyMutexLock lock(&mutex_);
  if (!steps_.TryPush(std::move(step))) return false;
  ++num_pending_;
  return true;
}

bool DeviceLoop::WaitIdle(absl::Time deadline) {
  SteadyMutexLock lock(&mutex_);
  return mutex_.AwaitWithDeadline(absl::Condition(this, &DeviceLoop::IsIdle), deadline);
}

void DeviceLoop::Stop() {
  steps_.Close();
  if (thread_.joinable()) thread_.join();
}

void DeviceLoop::Loop() {
  while (std::optional<std::shared_ptr<const QueuedStep>> step =
             steps_.Pop(absl::InfiniteFuture())) {
    run_(**step);
    step->reset();
    SteadyMutexLock lock(&mutex_);
    --num_pending_;
  }
}

}  // namespace baton::stage
