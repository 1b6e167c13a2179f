// How StepEngine loses a stage, and whose fault that is.
#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"

#include "common/log/log.h"
#include "services/scheduler/pipeline/step_engine.h"

namespace baton::scheduler {

void StepEngine::TakeHeartbeat(uint32_t index, const v1::Heartbeat& heartbeat, MonotonicTime now) {
  if (heartbeat.epoch() != registry_.epoch() || !schedule_.epoch_open()) return;
  const std::optional<std::string> cut = links_.Heard(index, heartbeat, now);
  if (cut.has_value()) LoseStage(index, absl::UnavailableError(*cut), now, LossCause::kLink);
}

void StepEngine::TakeFault(uint32_t index, const v1::StageFault& fault, MonotonicTime now) {
  LossCause cause = registry_.joining(index) ? LossCause::kJoin : LossCause::kStage;
  if (fault.neighbour_unreachable() && OthersLive(index, now)) cause = LossCause::kLink;
  LoseStage(index,
            absl::AbortedError(absl::StrCat("its worker gave up at step ", fault.step_id(), ": ",
                                            fault.message())),
            now, cause);
}

bool StepEngine::OthersLive(uint32_t index, MonotonicTime now) const {
  // What the loop comes late by, it may have heard and not taken in.
  const absl::Duration late = std::max(ElapsedSince(next_advance_, now), absl::ZeroDuration());
  return registry_.HeardOthers(index, 2 * options_.heartbeat_interval + late, now);
}

void StepEngine::LoseStage(uint32_t index, const absl::Status& why, MonotonicTime now,
                           LossCause cause) {
  if (phase_ == Phase::kLeaving) {
    BATON_LOG(INFO) << "stage " << index << " has left";
  } else {
    BATON_LOG(WARNING) << "stage " << index << " is lost in epoch " << registry_.epoch() << ": "
                       << why.message();
    if (options_.observer != nullptr) options_.observer->OnStageLost(cause);
  }
  StageLink* link = registry_.link(index);
  if (absl::IsUnavailable(why)) {
    link->Cut(why);
  } else {
    link->Close(why);
  }
  if (registry_.ready()) unready_since_ = now;
  registry_.Leave(index);
  const bool is_link = cause == LossCause::kLink;
  const EpochEnd end = is_link ? EpochEnd::kLinkCut : EpochEnd::kStageLost;
  const size_t num_suspects = schedule_.num_suspects();
  for (SequenceNews& news : schedule_.CloseEpoch(end)) {
    BATON_LOG(WARNING) << "request " << live_.at(news.id).name << ": " << news.ending->message;
    news_.push_back({std::move(news), {}, false});
  }
  if (schedule_.num_suspects() > num_suspects) {
    BATON_LOG(WARNING) << schedule_.num_suspects() - num_suspects
                       << " requests run one by one from here on, each until it has a token: "
                       << "whenever they were computed of late a "
                       << (is_link ? "link was cut" : "stage was lost")
                       << ", this time that of stage " << index << ": " << why.message();
  }
  reporter_.MarkChanged();
  FormGroup(now);
}

}  // namespace baton::scheduler
