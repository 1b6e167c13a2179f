#include "services/gateway/clients/group_watch.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"

namespace baton::gateway {
namespace {

// The channel has its own backoff for connecting; this one is for a scheduler that ends the call.
constexpr absl::Duration kFirstPause = absl::Milliseconds(5);
constexpr absl::Duration kLongestPause = absl::Seconds(1);

absl::string_view PhaseName(v1::StagePhase phase) {
  switch (phase) {
    case v1::STAGE_PHASE_ABSENT:
      return "absent";
    case v1::STAGE_PHASE_LOADING:
      return "loading weights";
    case v1::STAGE_PHASE_JOINING:
      return "joining";
    case v1::STAGE_PHASE_READY:
      return "ready";
    default:
      return "unknown";
  }
}

}  // namespace

GroupWatch::GroupWatch(SchedulerClient& client, Executor& executor, Options options)
    : client_(client),
      executor_(executor),
      options_(std::move(options)),
      pause_(kFirstPause),
      readiness_(absl::UnavailableError("the scheduler has not answered yet")) {}

void GroupWatch::Start() {
  stream_ = client_.WatchGroup([this](const v1::GroupState& state) { OnState(state); },
                               [this](const absl::Status& status) { OnLost(status); });
}

absl::Status GroupWatch::readiness() const {
  absl::MutexLock lock(&mutex_);
  return readiness_;
}

v1::GroupState GroupWatch::state() const {
  absl::MutexLock lock(&mutex_);
  return state_;
}

absl::Status GroupWatch::Judge(const v1::GroupState& state) const {
  if (state.model_fingerprint() != options_.model_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the stages run another model: fingerprint of config.json is ", state.model_fingerprint(),
        " there and ", options_.model_fingerprint, " here"));
  }
  if (state.ready()) return absl::OkStatus();
  std::vector<std::string> missing;
  for (const v1::StageState& stage : state.stages()) {
    if (stage.phase() == v1::STAGE_PHASE_READY) continue;
    missing.push_back(
        absl::StrCat("stage ", stage.stage_index(), " is ", PhaseName(stage.phase())));
  }
  return absl::UnavailableError(absl::StrCat("the model is not ready", missing.empty() ? "" : ": ",
                                             absl::StrJoin(missing, ", ")));
}

void GroupWatch::OnState(const v1::GroupState& state) {
  last_heard_ = SteadyNow();
  pause_ = kFirstPause;
  if (listening_ == nullptr) {
    listening_ = std::make_shared<bool>(true);
    ListenUntil(last_heard_ + options_.silence_limit);
  }
  const absl::Status judgement = Judge(state);
  Publish(state, judgement);
  SetPresent(!absl::IsFailedPrecondition(judgement));
}

void GroupWatch::ListenUntil(absl::Time due) {
  executor_.PostAfter(due - SteadyNow(), [this, due, listening = std::weak_ptr(listening_)] {
    if (listening.lock() == nullptr) return;
    const absl::Time now = SteadyNow();
    // Whoever was asleep cannot say that others were silent.
    const bool overslept = now - due > options_.silence_limit / 2;
    const absl::Time next =
        overslept ? now + options_.silence_limit / 2 : last_heard_ + options_.silence_limit;
    if (next > now) return ListenUntil(next);
    OnLost(absl::UnavailableError(
        absl::StrCat("it has been silent for ", absl::FormatDuration(options_.silence_limit))));
  });
}

void GroupWatch::OnLost(const absl::Status& status) {
  stream_.reset();
  listening_.reset();
  v1::GroupState unknown = state();
  unknown.set_ready(false);
  const std::string reason(status.ok() ? "the scheduler ended the watch" : status.message());
  Publish(std::move(unknown), absl::UnavailableError(absl::StrCat("no scheduler: ", reason)));
  SetPresent(false);
  executor_.PostAfter(pause_, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.lock() != nullptr) Start();
  });
  pause_ = std::min(pause_ * 2, kLongestPause);
}

void GroupWatch::SetPresent(bool present) {
  if (std::exchange(present_, present) == present) return;
  if (options_.on_presence) options_.on_presence(present);
}

absl::Status GroupWatch::CheckAccepting() const {
  absl::MutexLock lock(&mutex_);
  if (absl::IsUnavailable(readiness_) && SteadyNow() - unready_since_ < options_.patience) {
    return absl::OkStatus();
  }
  return readiness_;
}

void GroupWatch::Publish(v1::GroupState state, absl::Status readiness) {
  bool was_ready = false;
  {
    absl::MutexLock lock(&mutex_);
    was_ready = readiness_.ok();
    const bool had_state = state_.epoch() > 0;
    state_ = state;
    readiness_ = readiness;
    if (was_ready && !readiness.ok()) {
      unready_since_ = SteadyNow();
    } else if (!had_state && state.epoch() == 1 && !readiness.ok()) {
      // The first words of a group that has not served yet: it loads, for who knows how long.
      unready_since_ = absl::InfinitePast();
    }
  }
  if (readiness.ok() && !was_ready) {
    BATON_LOG(INFO) << "group is ready in epoch " << state.epoch();
  } else if (!readiness.ok() && was_ready) {
    BATON_LOG(WARNING) << "group is no longer ready: " << readiness.message();
  }
  if (options_.on_change) options_.on_change(state, readiness);
}

}  // namespace baton::gateway
