#include "services/scheduler/pipeline/step_loop.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_mutex.h"
#include "common/concurrency/steady_time.h"

namespace baton::scheduler {
namespace {

// Events taken in before steps are formed and tokens sent: a flood of them must not hold these up.
constexpr int kMaxEventsInRow = 64;
// Beyond the drain's deadline, for stages that do not leave.
constexpr absl::Duration kDrainSlack = absl::Seconds(5);
constexpr absl::Duration kLongestTurn = absl::Seconds(5);

int64_t Nanoseconds(MonotonicTime time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

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
    std::optional<Event> event = inbox_.Pop(SteadyNow() + wait);
    if (!event.has_value() && inbox_.closed()) break;
    turn_began_ = Nanoseconds(std::chrono::steady_clock::now());
    for (int taken = 0; event.has_value(); event = inbox_.Pop(absl::InfinitePast())) {
      engine_.Take(*std::move(event), std::chrono::steady_clock::now());
      if (++taken == kMaxEventsInRow) break;
    }
    due = engine_.Advance(std::chrono::steady_clock::now());
    turn_began_ = 0;
  }
  inbox_.Close();
  RefuseRest();
  SteadyMutexLock lock(&mutex_);
  stopped_ = true;
}

void StepLoop::RefuseRest() {
  const absl::Status status = absl::UnavailableError("the scheduler is shutting down");
  while (std::optional<Event> event = inbox_.Pop(absl::InfinitePast())) {
    if (auto* submit = std::get_if<SubmitEvent>(&*event)) {
      submit->sink->Finish(status, absl::ZeroDuration());
    } else if (auto* message = std::get_if<StageMessageEvent>(&*event)) {
      message->link->Close(status);
    }
  }
}

absl::Status StepLoop::CheckAlive(MonotonicTime now) const {
  const int64_t began = turn_began_;
  if (began == 0) return absl::OkStatus();
  const absl::Duration busy = absl::Nanoseconds(Nanoseconds(now) - began);
  if (busy <= kLongestTurn) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the step loop has not answered for ",
                   absl::FormatDuration(absl::Trunc(busy, absl::Seconds(1)))));
}

void StepLoop::Drain(absl::Time deadline) {
  if (!Post(DrainEvent{std::max(deadline - SteadyNow(), absl::ZeroDuration())})) return;
  SteadyMutexLock lock(&mutex_);
  mutex_.AwaitWithDeadline(absl::Condition(&stopped_), deadline + kDrainSlack);
}

}  // namespace baton::scheduler
