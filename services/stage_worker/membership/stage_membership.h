// This worker's life in a group: register, load, join, take steps; and again from registration when
// the scheduler or a neighbour is lost, with the weights kept.
//
//   registering -> loading -> waiting -> joined -> (topology) joined ...
//        ^            (plan)   (ready)  (topology)      |
//        +---------- stream lost, fault, silence -------+
//
// A lost neighbour is no fault of this worker: it keeps its place and waits for the topology that
// the scheduler, which sees the loss too, sends next; after twice the scheduler
// timeout it faults (at most the step timeout).
//
// Threads: Run's caller (the control thread) owns the state machine and the executor between
// epochs; gRPC's read thread submits steps while joined; device threads report; `pulse_` sends
// heartbeats and watches the scheduler. Steps and epochs exclude each other by `submit_mutex_`.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_mutex.h"
#include "kernels/api/ops.h"
#include "services/stage_worker/clients/loader_client.h"
#include "services/stage_worker/clients/scheduler_stream.h"
#include "services/stage_worker/membership/loaded_stage.h"
#include "services/stage_worker/membership/membership_events.h"
#include "services/stage_worker/membership/stage_options.h"
#include "services/stage_worker/membership/work_clock.h"
#include "services/stage_worker/metrics/stage_metrics.h"
#include "services/stage_worker/metrics/stage_snapshot.h"
#include "services/stage_worker/packed_weights/packed_counts.h"

namespace baton::stage {

class StageMembership final : private SchedulerListener, private StepObserver {
 public:
  // `backend` and `metrics` must outlive the membership. `on_joined` is called with true when steps
  // may come and with false when they may not, from the control thread.
  StageMembership(StageOptions options, kernels::Backend* backend, StageMetrics* metrics,
                  std::function<void(bool)> on_joined);
  ~StageMembership() override;

  // Returns OK after Stop; an error when going on makes no sense: refused by the scheduler
  // (version, registration), a plan that cannot be run, weights that cannot be loaded.
  absl::Status Run();

  // Finishes the steps received so far, at most until `deadline`, leaves the group and ends Run.
  // Any thread.
  void Stop(absl::Time deadline);

  StageSnapshot snapshot() const;  // any thread

  // Unavailable if the control thread or a device hangs: it has had one thing to do for more than
  // twice the step timeout. Loading takes the time that it takes. Any thread.
  absl::Status CheckAlive(absl::Time now) const;

 private:
  using Event = MembershipEvent;
  using EventKind = MembershipEvent::Kind;
  // How a session ended.
  struct Ending {
    absl::Status status;
    bool is_final = false;  // another session would end the same way, or Stop was called
  };

  // SchedulerListener, from gRPC's threads.
  void OnMessage(const v1::SchedulerMessage& message) override;
  void OnClosed(absl::Status status) override;
  // StepObserver, from device threads.
  void OnStepDone(StepResult result) override;
  void OnEpochBroken(uint64_t epoch, uint64_t step_id, absl::Status status) override;

  Ending RunSession();
  Ending HandleEvents();
  Ending HandleEvent(const Event& event);
  // Answer a plan or a topology.
  Ending ApplyPlan(const v1::StagePlan& plan);
  absl::Status EnsureLoaded(const v1::StagePlan& plan);
  absl::Status LoadFrom(const ServedModel& model, LoadedStage* stage);
  absl::Status ApplyTopology(const v1::Topology& topology);
  // Tells the scheduler and ends the stream.
  // `neighbour_unreachable`: see StageFault.
  void ReportFault(const absl::Status& reason, bool neighbour_unreachable = false);
  void FinishSteps(absl::Time deadline);
  bool IsJoined() const ABSL_LOCKS_EXCLUDED(submit_mutex_);
  // The scheduler has ended this stage's epoch: another topology comes when its group is complete.
  bool ExpectsTopology() const ABSL_LOCKS_EXCLUDED(submit_mutex_);
  // Calls on_joined_ if that is news. Control thread.
  void Announce(bool joined);
  // No step is taken from here on.
  void LeaveEpoch() ABSL_LOCKS_EXCLUDED(submit_mutex_);
  void SubmitStep(const v1::StepCommand& command) ABSL_LOCKS_EXCLUDED(submit_mutex_);

  v1::WorkerMessage MakeRegistration() const;
  void OpenStream();
  void CloseStream();
  void WaitForClose(absl::Duration limit);
  void Send(v1::WorkerMessage message) ABSL_LOCKS_EXCLUDED(stream_mutex_);
  void Push(Event event);
  void Pulse();
  void AskToLook() ABSL_LOCKS_EXCLUDED(submit_mutex_);

  const StageOptions options_;
  kernels::Backend* const backend_;
  StageMetrics* const metrics_;
  const std::function<void(bool)> on_joined_;
  LoaderClient loader_client_;
  MembershipEvents events_;

  // Control thread only.
  uint64_t next_local_epoch_ = 1;
  bool was_joined_ = false;  // in this membership
  bool announced_ = false;   // what on_joined_ was told last
  // A neighbour's loss, and when to give up waiting for the topology that mends it.
  absl::Status neighbour_loss_;
  absl::Time neighbour_deadline_ = absl::InfiniteFuture();

  PackedCounters packed_counters_;  // of all its stages

  mutable absl::Mutex stream_mutex_;  // never held while the stream calls back
  std::unique_ptr<SchedulerStream> stream_ ABSL_GUARDED_BY(stream_mutex_);

  mutable absl::Mutex submit_mutex_;
  std::unique_ptr<LoadedStage> stage_ ABSL_GUARDED_BY(submit_mutex_);  // replaced while not joined
  bool joined_ ABSL_GUARDED_BY(submit_mutex_) = false;
  uint64_t epoch_ ABSL_GUARDED_BY(submit_mutex_) = 0;        // the scheduler's
  uint64_t local_epoch_ ABSL_GUARDED_BY(submit_mutex_) = 0;  // the executor's
  // Of epoch_: whoever reads one of them without the other would tell of another epoch's step.
  uint64_t last_step_id_ ABSL_GUARDED_BY(submit_mutex_) = 0;
  uint32_t num_sequences_ ABSL_GUARDED_BY(submit_mutex_) = 0;
  uint32_t num_used_blocks_ ABSL_GUARDED_BY(submit_mutex_) = 0;

  // What the scheduler's heartbeats said last; 0: none came since it was dialled.
  std::atomic<uint64_t> scheduler_epoch_{0};
  WorkClock control_clock_;  // events taken up by the control thread
  WorkClock step_clock_;     // steps that the devices have
  std::atomic<bool> loading_{false};
  SteadyNotification stopping_;
  absl::Time stop_deadline_ = absl::InfiniteFuture();  // set before stopping_
  SteadyNotification ended_;
  std::thread pulse_;
};

}  // namespace baton::stage
