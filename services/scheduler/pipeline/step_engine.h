// What the step loop does, without its thread: requests and stage messages in; step commands,
// tokens and the state of the group out. Given the same events at the same times it does the same.
//
// Phases:  serving --drain--> draining --nothing live--> leaving --every stage gone--> stopped
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "services/scheduler/core/schedule.h"
#include "services/scheduler/pipeline/events.h"
#include "services/scheduler/pipeline/group_reporter.h"
#include "services/scheduler/pipeline/group_watch.h"
#include "services/scheduler/pipeline/link_watch.h"
#include "services/scheduler/pipeline/live_request.h"
#include "services/scheduler/pipeline/monotonic_time.h"
#include "services/scheduler/pipeline/progress_watch.h"
#include "services/scheduler/pipeline/reader_watch.h"
#include "services/scheduler/pipeline/report_collector.h"
#include "services/scheduler/pipeline/stage_registry.h"
#include "services/scheduler/pipeline/step_observer.h"

namespace baton::scheduler {

struct StepEngineOptions {
  ScheduleOptions schedule;
  std::vector<v1::StagePlan> plans;  // one per stage
  uint32_t nonce = 0;                // keeps this process's epochs apart from another's
  absl::Duration heartbeat_interval = absl::Milliseconds(250);
  // A stage that is silent for this long is lost; so is one that a neighbour's frames do not reach
  // for as long, but at least a second.
  absl::Duration heartbeat_timeout = absl::Seconds(1);
  // A stage that has work and finishes no step for this long is lost, whatever it says.
  absl::Duration step_timeout = absl::Seconds(60);
  // A caller that is behind and takes nothing for this long loses its sequence.
  absl::Duration reader_stall_timeout = absl::Seconds(60);
  // The group may be incomplete for this long before requests are refused.
  absl::Duration unready_grace = absl::Seconds(30);
  GroupWatch* watch = nullptr;       // must outlive this object
  StepObserver* observer = nullptr;  // may be null; must outlive this object
};

// Not thread-safe: one thread calls everything.
class StepEngine final {
 public:
  StepEngine(StepEngineOptions options, MonotonicTime now);

  void Take(Event event, MonotonicTime now);
  // Does whatever is due: steps, tokens, heartbeats, timeouts, news of the group. Call after each
  // run of events and at the time that the last call returned.
  MonotonicTime Advance(MonotonicTime now);
  // The drain is over: every stage has left, or had its time.
  bool stopped() const { return phase_ == Phase::kStopped; }

 private:
  enum class Phase { kServing, kDraining, kLeaving, kStopped };
  struct SentStep {
    MonotonicTime time;
    uint32_t num_rows;
    uint32_t num_tokens;
  };
  struct PendingNews {
    SequenceNews news;
    v1::PositionLogprobs logprobs;
    bool has_logprobs;
  };

  void Submit(SubmitEvent event, MonotonicTime now);
  // Ends what is past its deadline, before it costs a step.
  void Expire(MonotonicTime now);
  absl::Status CheckAccepting(MonotonicTime now) const;
  void CountRefusal(absl::string_view reason);
  // What a caller that is refused, or aborted, for now is told to wait: 1 to 3 s, spread.
  absl::Duration RetryAfter(SequenceId id) const;
  void TakeStageMessage(StageMessageEvent event, MonotonicTime now);
  absl::Status TakeFromStage(uint32_t index, v1::WorkerMessage message, MonotonicTime now);
  void Register(const std::shared_ptr<StageLink>& link, const v1::RegisterStage& request,
                MonotonicTime now);
  absl::Status TakeReport(uint32_t index, v1::StepReport report, MonotonicTime now);
  // The stage is lost if it shows that it hears nothing of a neighbour any more.
  void TakeHeartbeat(uint32_t index, const v1::Heartbeat& heartbeat, MonotonicTime now);
  void TakeFault(uint32_t index, const v1::StageFault& fault, MonotonicTime now);
  // Every other stage than `index` was heard of late: a connection between them that broke is a
  // link that was cut, not the end of one of them.
  bool OthersLive(uint32_t index, MonotonicTime now) const;
  void LoseStage(uint32_t index, const absl::Status& why, MonotonicTime now,
                 LossCause cause = LossCause::kStage);
  void FormGroup(MonotonicTime now);
  void StartEpoch(MonotonicTime now);
  void SendSteps(MonotonicTime now);
  void SendToStages(const v1::SchedulerMessage& message);
  // Tells the callers; done after SendSteps, so that the stages do not wait for it.
  void SendNews(MonotonicTime now);
  void Deliver(PendingNews pending, MonotonicTime now);
  // The caller is behind: its sequence is not computed on until it has caught up.
  void SuspendReader(SequenceId id, MonotonicTime now);
  // Ends a request that got its last response, or never gets one.
  void FinishRequest(SequenceId id, const absl::Status& status,
                     absl::Duration retry_after = absl::ZeroDuration());
  void AbortAll(const absl::Status& status, v1::FinishReason reason);
  void SendHeartbeats(MonotonicTime now);
  void CheckTimeouts(MonotonicTime now);
  // Ends the sequences of callers that have stalled.
  void CheckReaders(MonotonicTime now);
  // If more sequences are suspended than may run and wait: ends that of the longest stalled caller
  // of the key that has most of them. Their calls stay open, and would keep other keys' out.
  void BoundReaders(MonotonicTime now);
  // `retry_after`: see FinishRequest.
  void EndReader(SequenceId id, const std::string& why, absl::Duration retry_after);
  void AdvanceDrain(MonotonicTime now);
  MonotonicTime NextDue(MonotonicTime now) const;

  const StepEngineOptions options_;
  Schedule schedule_;
  StageRegistry registry_;
  ReportCollector reports_;
  ProgressWatch progress_;
  LinkWatch links_;
  std::unordered_map<SequenceId, LiveRequest> live_;
  ReaderWatch readers_;
  std::vector<PendingNews> news_;
  std::unordered_map<StepId, SentStep> sent_steps_;  // of the open epoch
  StepId last_sent_step_ = 0;
  Phase phase_ = Phase::kServing;
  MonotonicTime drain_deadline_;
  MonotonicTime leave_deadline_;
  MonotonicTime unready_since_;
  bool has_served_ = false;  // an epoch has begun
  MonotonicTime last_heartbeat_;
  MonotonicTime last_advance_;
  MonotonicTime next_advance_;  // as planned then, at the latest
  GroupReporter reporter_;
};

}  // namespace baton::scheduler
