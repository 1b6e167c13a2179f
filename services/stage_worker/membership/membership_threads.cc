// What StageMembership does outside the control thread: the stream, reports, heartbeats.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "common/rpc/channel.h"
#include "services/stage_worker/clients/step_conversion.h"
#include "services/stage_worker/membership/stage_membership.h"

namespace baton::stage {

void StageMembership::OpenStream() {
  SchedulerListener* listener = this;
  // A channel per session asks for the scheduler's address anew: pods come back at other ones, and
  // gRPC asks for a name that was not there ever more rarely.
  const std::shared_ptr<grpc::Channel> channel =
      CreateChannel(options_.scheduler_address, "scheduler", *options_.identity);
  // The registration goes with the stream: once others see it, heartbeats may follow.
  auto stream = std::make_unique<SchedulerStream>(channel, listener, MakeRegistration());
  const absl::MutexLock lock(&stream_mutex_);
  stream_ = std::move(stream);
}

void StageMembership::CloseStream() {
  std::unique_ptr<SchedulerStream> stream;
  {
    const absl::MutexLock lock(&stream_mutex_);
    stream = std::move(stream_);
  }
  // Waits for gRPC's last call, which may want the lock.
}

void StageMembership::Send(v1::WorkerMessage message) {
  const absl::MutexLock lock(&stream_mutex_);
  if (stream_ != nullptr) stream_->Send(std::move(message));
}

void StageMembership::Push(Event event) {
  if (events_.TryPush(std::move(event))) return;
  const absl::MutexLock lock(&stream_mutex_);
  if (stream_ != nullptr) {
    stream_->Cancel(absl::ResourceExhaustedError("the scheduler sends more than it may"));
  }
}

void StageMembership::OnMessage(const v1::SchedulerMessage& message) {
  switch (message.message_case()) {
    case v1::SchedulerMessage::kStep:
      return SubmitStep(message.step());
    case v1::SchedulerMessage::kPlan:
      return Push({.kind = EventKind::kPlan, .message = message});
    case v1::SchedulerMessage::kTopology:
      return Push({.kind = EventKind::kTopology, .message = message});
    case v1::SchedulerMessage::kDrain:
      return Push({.kind = EventKind::kDrain});
    case v1::SchedulerMessage::kHeartbeat:  // silence() is its use
    case v1::SchedulerMessage::MESSAGE_NOT_SET:
      return;
  }
}

void StageMembership::OnClosed(absl::Status status) { events_.PushClosed(std::move(status)); }

void StageMembership::OnStepDone(StepResult result) {
  metrics_->OnStep(result);
  v1::WorkerMessage message;
  {
    const absl::MutexLock lock(&submit_mutex_);
    if (result.epoch != local_epoch_) return;
    *message.mutable_report() = EncodeReport(result);
    message.mutable_report()->set_epoch(epoch_);
  }
  step_clock_.Finish(SteadyNow());
  last_step_id_ = result.step_id;
  Send(std::move(message));
}

void StageMembership::OnEpochBroken(uint64_t epoch, uint64_t step_id, absl::Status status) {
  {
    const absl::MutexLock lock(&submit_mutex_);
    if (!joined_ || epoch != local_epoch_) return;
    joined_ = false;
  }
  BATON_LOG(ERROR) << "step " << step_id << " cannot be computed: " << status.message();
  // Only waits for neighbours end with these codes.
  const bool is_neighbour = absl::IsUnavailable(status) || absl::IsCancelled(status);
  Push({.kind = is_neighbour ? EventKind::kNeighbourLost : EventKind::kFault,
        .status =
            absl::Status(status.code(), absl::StrCat("step ", step_id, ": ", status.message()))});
}

StageSnapshot StageMembership::snapshot() const {
  StageSnapshot snapshot;
  snapshot.last_step_id = last_step_id_;
  const absl::MutexLock lock(&submit_mutex_);
  snapshot.joined = joined_;
  snapshot.epoch = epoch_;
  snapshot.num_sequences = num_sequences_;
  snapshot.num_used_blocks = num_used_blocks_;
  if (stage_ != nullptr) stage_->Describe(&snapshot);
  return snapshot;
}

absl::Status StageMembership::CheckAlive(absl::Time now) const {
  const absl::Duration limit = 2 * options_.step_timeout;
  const absl::Duration control =
      loading_ ? absl::ZeroDuration() : control_clock_.without_progress(now);
  const absl::Duration steps = step_clock_.without_progress(now);
  if (std::max(control, steps) <= limit) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(control > limit ? "the control thread" : "a device", " has done nothing for ",
                   absl::FormatDuration(absl::Trunc(std::max(control, steps), absl::Seconds(1))),
                   " while it had work"));
}

void StageMembership::Pulse() {
  absl::Time beat = SteadyNow();
  while (!ended_.WaitForNotificationWithTimeout(options_.heartbeat_interval)) {
    // Whoever was asleep cannot say that others were silent.
    const absl::Time due = std::exchange(beat, SteadyNow()) + options_.heartbeat_interval;
    const bool overslept = beat - due > options_.scheduler_timeout / 2;
    const StageSnapshot now = snapshot();
    metrics_->Update(now);
    v1::WorkerMessage heartbeat;
    heartbeat.mutable_heartbeat()->set_epoch(now.epoch);
    heartbeat.mutable_heartbeat()->set_step_id(now.last_step_id);
    v1::WorkerMessage progress;
    progress.mutable_load_progress()->set_loaded_bytes(now.loaded_bytes);
    progress.mutable_load_progress()->set_total_bytes(now.load_total_bytes);
    const absl::MutexLock lock(&stream_mutex_);
    if (stream_ == nullptr) continue;
    stream_->Send(std::move(heartbeat));
    if (loading_ && now.load_total_bytes > 0) stream_->Send(std::move(progress));
    if (!overslept && stream_->silence() > options_.scheduler_timeout) {
      stream_->Cancel(absl::UnavailableError(
          absl::StrCat("silent for ", absl::FormatDuration(options_.scheduler_timeout))));
    }
  }
}

}  // namespace baton::stage
