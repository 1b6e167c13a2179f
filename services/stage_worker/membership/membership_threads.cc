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
namespace {

// A wait that lasts is told of so often, by heartbeat intervals: the scheduler goes by what it was
// told.
constexpr int kBeatsOfLongWait = 8;

v1::AwaitedFrames EncodeFrames(AwaitedFrames frames) {
  switch (frames) {
    case AwaitedFrames::kHiddenStates:
      return v1::AWAITED_FRAMES_HIDDEN_STATES;
    case AwaitedFrames::kTokens:
      return v1::AWAITED_FRAMES_TOKENS;
    case AwaitedFrames::kCredit:
      return v1::AWAITED_FRAMES_CREDIT;
  }
  return v1::AWAITED_FRAMES_UNSPECIFIED;
}

uint32_t MillisBetween(absl::Time begin, absl::Time end) {
  const int64_t millis = absl::ToInt64Milliseconds(end - begin);
  return static_cast<uint32_t>(std::clamp<int64_t>(millis, 0, UINT32_MAX));
}

// What a process slept through, up to `awake_since`, was no waiting.
v1::WorkerMessage MakeHeartbeat(const StageSnapshot& stage, absl::Time now,
                                absl::Time awake_since) {
  v1::WorkerMessage message;
  v1::Heartbeat* heartbeat = message.mutable_heartbeat();
  heartbeat->set_epoch(stage.epoch);
  heartbeat->set_step_id(stage.last_step_id);
  heartbeat->set_looked_ms(MillisBetween(stage.last_look, now));
  if (!stage.wait.has_value()) return message;
  v1::NeighbourWait* wait = heartbeat->mutable_wait();
  wait->set_frames(EncodeFrames(stage.wait->frames));
  wait->set_step_id(stage.wait->step_id);
  // What has come since that look is for the next one to say.
  wait->set_waited_ms(MillisBetween(std::max(stage.wait->since, awake_since), stage.last_look));
  return message;
}

}  // namespace

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
    case v1::SchedulerMessage::kHeartbeat:
      scheduler_epoch_ = message.heartbeat().epoch();
      return;
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
    last_step_id_ = result.step_id;
    stage_->NoteStep();
  }
  step_clock_.Finish(SteadyNow());
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
  const absl::MutexLock lock(&submit_mutex_);
  snapshot.joined = joined_;
  snapshot.epoch = epoch_;
  snapshot.last_step_id = last_step_id_;
  snapshot.num_sequences = num_sequences_;
  snapshot.num_used_blocks = num_used_blocks_;
  packed_counters_.CopyTo(&snapshot.packed);
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

void StageMembership::AskToLook() {
  const absl::MutexLock lock(&submit_mutex_);
  if (stage_ != nullptr) stage_->AskToLook();
}

void StageMembership::Pulse() {
  absl::Time beat = SteadyNow();
  absl::Duration pause = options_.heartbeat_interval;
  uint64_t last_step_id = 0;
  absl::Time last_step = absl::InfinitePast();
  absl::Time awake_since = absl::InfinitePast();
  while (!ended_.WaitForNotificationWithTimeout(pause)) {
    // Whoever was asleep cannot say that others were silent.
    const absl::Time due = std::exchange(beat, SteadyNow()) + pause;
    const bool overslept = beat - due > options_.scheduler_timeout / 2;
    if (overslept) awake_since = beat;
    const StageSnapshot now = snapshot();
    metrics_->Update(now);
    v1::WorkerMessage heartbeat = MakeHeartbeat(now, beat, awake_since);
    if (std::exchange(last_step_id, now.last_step_id) != now.last_step_id) last_step = beat;
    // Whether the link or this process is slow is asked only while there are steps.
    if (now.wait.has_value() || beat - last_step < 4 * options_.scheduler_timeout) AskToLook();
    const bool waits_long =
        now.wait.has_value() && beat - now.wait->since > options_.heartbeat_interval;
    pause = options_.heartbeat_interval / (waits_long ? kBeatsOfLongWait : 1);
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
