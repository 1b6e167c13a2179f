#include "services/scheduler/pipeline/step_loop.h"

#include <optional>
#include <utility>

#include "absl/time/clock.h"

namespace baton::scheduler {
namespace {

// Events taken in before steps are formed and tokens sent: a flood of them must not hold these up.
constexpr int kMaxEventsInRow = 64;
// Beyond the drain's deadline, for stages that do not leave.
constexpr absl::Duration kDrainSlack = absl::Seconds(5);

}  // namespace

StepLoop::StepLoop(StepEngineOptions options, size_t inbox_capacity)
    : inbox_(inbox_capacity), engine_(std::move(options), std::chrono::steady_clock::now()) {
  thread_ = std::thread([this] { Run(); });
}

StepLoop::~StepLoop() {
  inbox_.Close();
  thread_.join();
}

void StepLoop::Run() {
  MonotonicTime due = std::chrono::steady_clock::now();
  while (!engine_.stopped()) {
    const absl::Duration wait = ElapsedSince(std::chrono::steady_clock::now(), due);
    std::optional<Event> event = inbox_.Pop(absl::Now() + wait);
    if (!event.has_value() && inbox_.closed()) break;
    for (int taken = 0; event.has_value(); event = inbox_.Pop(absl::InfinitePast())) {
      engine_.Take(*std::move(event), std::chrono::steady_clock::now());
      if (++taken == kMaxEventsInRow) break;
    }
    due = engine_.Advance(std::chrono::steady_clock::now());
  }
  inbox_.Close();
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
}

void StepLoop::Drain(absl::Time deadline) {
  if (!Post(DrainEvent{std::max(deadline - absl::Now(), absl::ZeroDuration())})) return;
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithDeadline(absl::Condition(&stopped_), deadline + kDrainSlack);
}

}  // namespace baton::scheduler
