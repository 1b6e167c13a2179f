// What StepEngine does because time passes: heartbeats, timeouts, the drain.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/log/log.h"
#include "services/scheduler/pipeline/step_engine.h"

namespace baton::scheduler {
namespace {

// How long stages may take to leave once they were told, beyond the drain's deadline.
constexpr absl::Duration kLeaveTime = absl::Seconds(1);

}  // namespace

void StepEngine::Expire(MonotonicTime now) {
  std::vector<SequenceNews> expired = schedule_.Expire(ToCoreTime(now));
  if (!expired.empty() && options_.observer != nullptr) {
    options_.observer->OnExpired(expired.size());
  }
  for (SequenceNews& news : expired) news_.push_back({std::move(news), {}, false});
}

void StepEngine::SendHeartbeats(MonotonicTime now) {
  if (ElapsedSince(last_heartbeat_, now) < options_.heartbeat_interval) return;
  last_heartbeat_ = now;
  v1::SchedulerMessage message;
  message.mutable_heartbeat()->set_epoch(registry_.epoch());
  message.mutable_heartbeat()->set_step_id(last_sent_step_);
  SendToStages(message);
  reporter_.MarkChanged();  // for watchers, the state of the group is the sign of life
}

void StepEngine::SendToStages(const v1::SchedulerMessage& message) {
  for (uint32_t index = 0; index < registry_.num_stages(); ++index) {
    if (registry_.link(index) != nullptr) registry_.link(index)->Send(message);
  }
}

void StepEngine::CheckTimeouts(MonotonicTime now) {
  // Whoever was asleep cannot say that others were silent; nor who comes late, on a machine that
  // has too much to do.
  if (now > next_advance_) registry_.Forgive(ElapsedSince(next_advance_, now), now);
  const absl::Duration asleep = ElapsedSince(last_advance_, now);
  if (asleep > options_.heartbeat_timeout / 2) {
    registry_.HeardAll(now);
    progress_.Forgive(now);
    links_.Forgive(now);
    readers_.Forgive(asleep);
  }
  CheckReaders(now);
  for (uint32_t index : registry_.Silent(now)) {
    LoseStage(index,
              absl::UnavailableError(absl::StrCat(
                  "no sign of life for ", absl::FormatDuration(options_.heartbeat_timeout))),
              now);
  }
  if (const auto stalled = progress_.Stalled(now); stalled.has_value() && schedule_.epoch_open()) {
    LoseStage(*stalled,
              absl::UnavailableError(absl::StrCat("it finished no step for ",
                                                  absl::FormatDuration(options_.step_timeout),
                                                  " while it had work")),
              now);
  }
  if (registry_.ready() || live_.empty() || phase_ != Phase::kServing) return;
  if (absl::Status status = CheckAccepting(now); !status.ok()) {
    AbortAll(status, v1::FINISH_REASON_ERROR);
  }
}

void StepEngine::SuspendReader(SequenceId id, MonotonicTime now) {
  const Sequence* const sequence = schedule_.Find(id);
  if (sequence == nullptr || !readers_.Wait(id, sequence->fairness_key(), now)) return;
  schedule_.Suspend(id);
  BoundReaders(now);
}

void StepEngine::BoundReaders(MonotonicTime now) {
  const std::vector<SequenceId> ids = readers_.TooMany();
  if (ids.empty()) return;
  for (const SequenceId id : ids) readers_.Renew(id, live_.at(id).sink->last_taken());
  const SequenceId longest =
      *std::min_element(ids.begin(), ids.end(), [this](SequenceId a, SequenceId b) {
        return std::pair(readers_.since(a), a) < std::pair(readers_.since(b), b);
      });
  EndReader(longest,
            absl::StrCat("no more than ", readers_.most(),
                         " callers may be behind with their tokens; "
                         "this one had taken none for longest (",
                         absl::FormatDuration(ElapsedSince(readers_.since(longest), now)),
                         ") of the key that has most callers behind; try again later"),
            RetryAfter(longest));
}

void StepEngine::EndReader(SequenceId id, const std::string& why, absl::Duration retry_after) {
  BATON_LOG(INFO) << "request " << live_.at(id).name << ": " << why
                  << "; its sequence is cancelled";
  if (options_.observer != nullptr) options_.observer->OnStalledReader();
  schedule_.Cancel(id);
  FinishRequest(id, absl::ResourceExhaustedError(why), retry_after);
}

void StepEngine::CheckReaders(MonotonicTime now) {
  for (const SequenceId id : readers_.Stalled(now)) {
    // Slow, but reading.
    if (readers_.Renew(id, live_.at(id).sink->last_taken()) && !readers_.stalled(id, now)) continue;
    EndReader(id,
              absl::StrCat("the caller has taken none of its tokens for ",
                           absl::FormatDuration(readers_.patience())),
              absl::ZeroDuration());
  }
}

void StepEngine::AdvanceDrain(MonotonicTime now) {
  if (phase_ == Phase::kDraining) {
    if (now >= drain_deadline_) {
      AbortAll(absl::UnavailableError("the scheduler is shutting down"), v1::FINISH_REASON_ABORT);
    }
    const bool done = live_.empty() && schedule_.idle();
    if (!done && now < drain_deadline_ + kLeaveTime) return;
    phase_ = Phase::kLeaving;
    leave_deadline_ = now + kLeaveTime;
    v1::SchedulerMessage message;
    message.mutable_drain();
    SendToStages(message);
  }
  if (phase_ != Phase::kLeaving) return;
  if (registry_.num_attached() > 0 && now < leave_deadline_) return;
  for (uint32_t index = 0; index < registry_.num_stages(); ++index) {
    if (registry_.link(index) == nullptr) continue;
    registry_.link(index)->Cut(absl::UnavailableError("the scheduler is shutting down"));
  }
  phase_ = Phase::kStopped;
}

MonotonicTime StepEngine::NextDue(MonotonicTime now) const {
  MonotonicTime due =
      std::min({last_heartbeat_ + options_.heartbeat_interval, reporter_.next_due(now),
                readers_.next_due(), registry_.next_silence()});
  if (schedule_.next_deadline() != kNever) {
    const TimeUs left = schedule_.next_deadline() - ToCoreTime(now);
    due = std::min(due, now + absl::Microseconds(left + 1));
  }
  if (!registry_.ready() && !live_.empty() && phase_ == Phase::kServing) {
    due = std::min(due, unready_since_ + options_.unready_grace + absl::Milliseconds(1));
  }
  if (phase_ == Phase::kDraining) {
    due = std::min(due, now < drain_deadline_ ? drain_deadline_ : drain_deadline_ + kLeaveTime);
  }
  if (phase_ == Phase::kLeaving) due = std::min(due, leave_deadline_);
  return due;
}

}  // namespace baton::scheduler
