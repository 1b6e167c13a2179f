#include "services/gateway/clients/group_watch.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "common/log/log.h"

namespace baton::gateway {
namespace {

// The channel has its own backoff for connecting; this one is for a scheduler that ends the call.
constexpr absl::Duration kWatchAgainAfter = absl::Milliseconds(200);

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
  if (!state.ready()) {
    std::vector<std::string> missing;
    for (const v1::StageState& stage : state.stages()) {
      if (stage.phase() == v1::STAGE_PHASE_READY) continue;
      missing.push_back(
          absl::StrCat("stage ", stage.stage_index(), " is ", PhaseName(stage.phase())));
    }
    return absl::UnavailableError(absl::StrCat(
        "the model is not ready", missing.empty() ? "" : ": ", absl::StrJoin(missing, ", ")));
  }
  if (state.model_fingerprint() != options_.model_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the stages run another model: fingerprint of config.json is ", state.model_fingerprint(),
        " there and ", options_.model_fingerprint, " here"));
  }
  return absl::OkStatus();
}

void GroupWatch::OnState(const v1::GroupState& state) { Publish(state, Judge(state)); }

void GroupWatch::OnLost(const absl::Status& status) {
  stream_.reset();
  v1::GroupState unknown = state();
  unknown.set_ready(false);
  const std::string reason(status.ok() ? "the scheduler ended the watch" : status.message());
  Publish(std::move(unknown), absl::UnavailableError(absl::StrCat("no scheduler: ", reason)));
  executor_.PostAfter(kWatchAgainAfter, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.lock() != nullptr) Start();
  });
}

void GroupWatch::Publish(v1::GroupState state, absl::Status readiness) {
  bool was_ready = false;
  {
    absl::MutexLock lock(&mutex_);
    was_ready = readiness_.ok();
    state_ = state;
    readiness_ = readiness;
  }
  if (readiness.ok() && !was_ready) {
    BATON_LOG(INFO) << "group is ready in epoch " << state.epoch();
  } else if (!readiness.ok() && was_ready) {
    BATON_LOG(WARNING) << "group is no longer ready: " << readiness.message();
  }
  if (options_.on_change) options_.on_change(state, readiness);
}

}  // namespace baton::gateway
