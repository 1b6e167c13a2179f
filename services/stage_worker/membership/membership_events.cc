#include "services/stage_worker/membership/membership_events.h"

#include <utility>

#include "common/concurrency/steady_mutex.h"

namespace baton::stage {

bool MembershipEvents::TryPush(MembershipEvent event) {
  const SteadyMutexLock lock(&mutex_);
  if (events_.size() >= capacity_) return false;
  events_.push_back(std::move(event));
  return true;
}

void MembershipEvents::PushClosed(absl::Status status) {
  const SteadyMutexLock lock(&mutex_);
  closed_ = std::move(status);
}

void MembershipEvents::PushStop() {
  const SteadyMutexLock lock(&mutex_);
  stop_ = true;
}

std::optional<MembershipEvent> MembershipEvents::Pop(absl::Time deadline) {
  const SteadyMutexLock lock(&mutex_);
  mutex_.AwaitWithDeadline(absl::Condition(this, &MembershipEvents::HasEvent), deadline);
  if (stop_) {
    stop_ = false;
    return MembershipEvent{.kind = MembershipEvent::Kind::kStop};
  }
  if (!events_.empty()) {
    MembershipEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
  }
  if (!closed_.has_value()) return std::nullopt;
  MembershipEvent event = {.kind = MembershipEvent::Kind::kClosed, .status = *std::move(closed_)};
  closed_.reset();
  return event;
}

void MembershipEvents::EndSession() {
  const SteadyMutexLock lock(&mutex_);
  events_.clear();
  closed_.reset();
}

}  // namespace baton::stage
