#include "services/stage_worker/membership/stage_membership.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "common/rpc/peer.h"
#include "common/status/status_macros.h"
#include "services/stage_worker/clients/step_conversion.h"

namespace baton::stage {
namespace {

// The stream itself waits for a scheduler that is not there.
constexpr absl::Duration kFirstPause = absl::Milliseconds(10);
constexpr absl::Duration kLongestPause = absl::Milliseconds(250);
// How long the scheduler may take to read a fault or a farewell.
constexpr absl::Duration kFarewellLimit = absl::Seconds(1);
// How long the model-loader may take to say what it has, being started at the same time.
constexpr absl::Duration kModelLimit = absl::Minutes(2);
// Plans, topologies and endings are few; a scheduler that floods is cut off.
constexpr size_t kMaxEvents = 64;

// Whether trying again can help.
bool IsPassing(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsCancelled(status) ||
         absl::IsDeadlineExceeded(status) || absl::IsAborted(status);
}

// Whether the scheduler's refusal is for good.
bool IsFinalRefusal(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status) ||
         absl::IsUnimplemented(status) || absl::IsPermissionDenied(status) ||
         absl::IsUnauthenticated(status);
}

}  // namespace

StageMembership::StageMembership(StageOptions options, kernels::Backend* backend,
                                 StageMetrics* metrics, std::function<void(bool)> on_joined)
    : options_(std::move(options)),
      backend_(backend),
      metrics_(metrics),
      on_joined_(std::move(on_joined)),
      loader_client_(options_.model_loader_address, *options_.identity),
      events_(kMaxEvents),
      pulse_([this] { Pulse(); }) {}

StageMembership::~StageMembership() {
  ended_.Notify();
  pulse_.join();
  CloseStream();
}

absl::Status StageMembership::Run() {
  absl::Duration pause = kFirstPause;
  while (!stopping_.HasBeenNotified()) {
    const Ending ending = RunSession();
    if (stopping_.HasBeenNotified()) break;
    if (ending.is_final) return ending.status;
    metrics_->OnMembershipLost();
    if (was_joined_) pause = kFirstPause;
    BATON_LOG(WARNING) << "out of the group, registering again in " << absl::FormatDuration(pause)
                       << ": " << ending.status.message();
    stopping_.WaitForNotificationWithTimeout(pause);
    pause = std::min(pause * 2, kLongestPause);
  }
  return absl::OkStatus();
}

void StageMembership::Stop(absl::Time deadline) {
  {
    const absl::MutexLock lock(&submit_mutex_);
    if (stopping_.HasBeenNotified()) return;
    stop_deadline_ = deadline;
    stopping_.Notify();
  }
  loader_client_.Cancel();
  {
    const absl::MutexLock lock(&submit_mutex_);
    if (stage_ != nullptr) stage_->CancelLoad();
  }
  events_.PushStop();
}

StageMembership::Ending StageMembership::RunSession() {
  was_joined_ = false;
  scheduler_epoch_ = 0;
  OpenStream();
  Ending ending = HandleEvents();
  LeaveEpoch();
  CloseStream();
  events_.EndSession();
  return ending;
}

v1::WorkerMessage StageMembership::MakeRegistration() const {
  v1::WorkerMessage message;
  v1::RegisterStage* registration = message.mutable_register_();
  *registration->mutable_peer() = MakePeerInfo("stage-worker");
  if (options_.stage_index.has_value()) registration->set_stage_index(*options_.stage_index);
  registration->set_num_ranks(static_cast<uint32_t>(options_.num_ranks));
  registration->set_memory_bytes(options_.memory_bytes > 0 ? options_.memory_bytes
                                                           : backend_->memory().free_bytes);
  registration->set_backend(options_.backend);
  registration->set_status_address(options_.status_address);
  registration->set_expands_prompts(options_.expands_prompts);
  return message;
}

StageMembership::Ending StageMembership::HandleEvents() {
  neighbour_loss_ = absl::OkStatus();
  neighbour_deadline_ = absl::InfiniteFuture();
  while (true) {
    std::optional<Event> event = events_.Pop(neighbour_deadline_);
    if (!event.has_value() && ExpectsTopology()) {
      neighbour_deadline_ = absl::InfiniteFuture();
      continue;
    }
    if (!event.has_value()) {
      ReportFault(neighbour_loss_, /*neighbour_unreachable=*/true);
      return {.status = neighbour_loss_};
    }
    control_clock_.Add(SteadyNow());
    Ending ending = HandleEvent(*event);
    control_clock_.Clear();
    if (!ending.status.ok()) return ending;
  }
}

StageMembership::Ending StageMembership::HandleEvent(const Event& event) {
  Ending ending;
  switch (event.kind) {
    case EventKind::kPlan:
      ending = ApplyPlan(event.message.plan());
      break;
    case EventKind::kTopology:
      neighbour_deadline_ = absl::InfiniteFuture();
      ending.status = ApplyTopology(event.message.topology());
      if (!ending.status.ok()) ReportFault(ending.status);
      break;
    case EventKind::kDrain:
      FinishSteps(SteadyNow() + options_.step_timeout);
      break;
    case EventKind::kFault:
      if (IsJoined()) break;  // of an epoch before this one
      ending.status = event.status;
      ReportFault(ending.status);
      break;
    case EventKind::kNeighbourLost:
      if (IsJoined()) break;  // of an epoch before this one
      Announce(false);
      neighbour_loss_ = event.status;
      // The scheduler loses a neighbour that died, and its heartbeats tell of the next epoch. If
      // none has come by then, only the connection broke, of which nobody but its two ends knows.
      neighbour_deadline_ =
          SteadyNow() + std::min(options_.step_timeout, 2 * options_.scheduler_timeout);
      break;
    case EventKind::kClosed:
      ending.status = event.status.ok() ? absl::UnavailableError("the scheduler ended the stream")
                                        : event.status;
      ending.is_final = IsFinalRefusal(event.status);
      ending.status =
          Annotate(ending.status, absl::StrCat("scheduler at ", options_.scheduler_address));
      break;
    case EventKind::kStop:
      FinishSteps(stop_deadline_);
      WaitForClose(kFarewellLimit);
      ending = {.status = absl::CancelledError("the worker was stopped"), .is_final = true};
      break;
  }
  return ending;
}

StageMembership::Ending StageMembership::ApplyPlan(const v1::StagePlan& plan) {
  const absl::Time begin = SteadyNow();
  loading_ = true;
  const absl::Status loaded = EnsureLoaded(plan);
  loading_ = false;
  if (!loaded.ok()) {
    ReportFault(loaded);
    return {.status = loaded, .is_final = !IsPassing(loaded)};
  }
  v1::WorkerMessage message;
  {
    const absl::MutexLock lock(&submit_mutex_);
    *message.mutable_ready() = stage_->MakeReady();
  }
  message.mutable_ready()->set_load_ms(
      static_cast<uint64_t>(absl::ToInt64Milliseconds(SteadyNow() - begin)));
  BATON_LOG(INFO) << "stage " << plan.stage_index() << " is ready: layers ["
                  << plan.layers().begin() << ", " << plan.layers().end() << "), "
                  << options_.num_ranks << " ranks on " << options_.num_devices << " devices, "
                  << message.ready().weight_bytes() << " bytes of weights, "
                  << message.ready().num_blocks() << " KV blocks, " << message.ready().load_ms()
                  << " ms";
  Send(std::move(message));
  return {};
}

absl::Status StageMembership::EnsureLoaded(const v1::StagePlan& plan) {
  LoadedStage* stage = nullptr;
  {
    const absl::MutexLock lock(&submit_mutex_);
    if (stage_ != nullptr && stage_->is_loaded() && stage_->Fits(plan)) return absl::OkStatus();
    stage = stage_.get();
  }
  ASSIGN_OR_RETURN(const ServedModel model, loader_client_.GetModel(absl::Now() + kModelLimit));
  // What was loaded in part of another checkpoint is of no use.
  if (stage == nullptr || !stage->Fits(plan) || !stage->IsOf(model)) {
    ASSIGN_OR_RETURN(std::unique_ptr<LoadedStage> made,
                     LoadedStage::Create(options_, plan, model, backend_, this));
    stage = made.get();
    {
      const absl::MutexLock lock(&submit_mutex_);
      stage_.swap(made);
    }
    // `made` is the former one now; its threads end here, without the lock.
  }
  if (stopping_.HasBeenNotified()) return absl::CancelledError("the worker was stopped");
  return LoadFrom(model, stage);
}

absl::Status StageMembership::LoadFrom(const ServedModel& model, LoadedStage* stage) {
  const absl::Status loaded = stage->Load(&loader_client_, &packed_counters_);
  if (!absl::IsFailedPrecondition(loaded)) return loaded;
  // Has a loader of another checkpoint taken the place of the one that was asked? Its weights can
  // be had, all of them.
  const absl::StatusOr<ServedModel> now = loader_client_.GetModel(absl::Now() + kModelLimit);
  if (!now.ok() || stage->IsOf(*now) || now->fingerprint != model.fingerprint) return loaded;
  return absl::UnavailableError(loaded.message());
}

absl::Status StageMembership::ApplyTopology(const v1::Topology& topology) {
  LeaveEpoch();
  LoadedStage* stage = nullptr;
  {
    const absl::MutexLock lock(&submit_mutex_);
    if (stage_ == nullptr || !stage_->is_loaded()) {
      return absl::FailedPreconditionError("a topology came before the plan");
    }
    stage = stage_.get();
  }
  const uint64_t local_epoch = next_local_epoch_++;
  RETURN_IF_ERROR(Annotate(stage->BeginEpoch(topology, local_epoch),
                           absl::StrCat("joining epoch ", topology.epoch())));
  if (stage->link().sink() != nullptr) {
    BATON_LOG(INFO) << "epoch " << topology.epoch() << ": hidden states of "
                    << stage->link().description() << " (UCX)";
  }
  step_clock_.Clear();
  {
    const absl::MutexLock lock(&submit_mutex_);
    joined_ = true;
    epoch_ = topology.epoch();
    last_step_id_ = 0;
    local_epoch_ = local_epoch;
    num_sequences_ = 0;
    num_used_blocks_ = 0;
  }
  was_joined_ = true;
  Announce(true);
  BATON_LOG(INFO) << "joined epoch " << topology.epoch() << " with " << topology.num_blocks()
                  << " KV blocks";
  v1::WorkerMessage message;
  message.mutable_joined()->set_epoch(topology.epoch());
  Send(std::move(message));
  return absl::OkStatus();
}

bool StageMembership::IsJoined() const {
  const absl::MutexLock lock(&submit_mutex_);
  return joined_;
}

bool StageMembership::ExpectsTopology() const {
  const absl::MutexLock lock(&submit_mutex_);
  return scheduler_epoch_ > epoch_;
}

void StageMembership::Announce(bool joined) {
  if (std::exchange(announced_, joined) != joined) on_joined_(joined);
}

void StageMembership::LeaveEpoch() {
  Announce(false);
  step_clock_.Clear();
  const absl::MutexLock lock(&submit_mutex_);
  joined_ = false;
  if (stage_ != nullptr) stage_->AbandonEpoch(absl::CancelledError("the epoch has ended"));
}

void StageMembership::FinishSteps(absl::Time deadline) {
  LoadedStage* stage = nullptr;
  {
    const absl::MutexLock lock(&submit_mutex_);
    if (joined_) stage = stage_.get();
    joined_ = false;
  }
  if (stage != nullptr) {
    const absl::Status drained = stage->executor().Drain(deadline);
    if (!drained.ok()) BATON_LOG(WARNING) << "steps are left unfinished: " << drained.message();
  }
  Announce(false);
  const absl::MutexLock lock(&stream_mutex_);
  if (stream_ != nullptr) stream_->FinishSending();
}

void StageMembership::ReportFault(const absl::Status& reason, bool neighbour_unreachable) {
  Announce(false);
  v1::WorkerMessage message;
  v1::StageFault* fault = message.mutable_fault();
  {
    const absl::MutexLock lock(&submit_mutex_);
    fault->set_epoch(epoch_);
    fault->set_step_id(last_step_id_);
  }
  fault->set_message(std::string(reason.message()));
  fault->set_neighbour_unreachable(neighbour_unreachable);
  Send(std::move(message));
  {
    const absl::MutexLock lock(&stream_mutex_);
    if (stream_ != nullptr) stream_->FinishSending();
  }
  WaitForClose(kFarewellLimit);
}

void StageMembership::WaitForClose(absl::Duration limit) {
  const absl::Time deadline = SteadyNow() + limit;
  while (const std::optional<Event> event = events_.Pop(deadline)) {
    if (event->kind == EventKind::kClosed) return;
  }
}

void StageMembership::SubmitStep(const v1::StepCommand& command) {
  absl::Status submitted;
  {
    const absl::MutexLock lock(&submit_mutex_);
    if (!joined_ || command.epoch() != epoch_) return;
    absl::StatusOr<StepWork> work = DecodeStep(command);
    submitted = work.status();
    if (work.ok()) {
      work->epoch = local_epoch_;
      StageExecutor& executor = stage_->executor();
      submitted = executor.Submit(*work);
      if (submitted.ok()) step_clock_.Add(SteadyNow());
      // The epoch broke a moment ago: OnEpochBroken, which waits for the lock, tells why.
      if (absl::IsFailedPrecondition(submitted)) return;
      num_sequences_ = static_cast<uint32_t>(executor.num_sequences());
      num_used_blocks_ = static_cast<uint32_t>(executor.num_used_blocks());
    }
    if (submitted.ok()) return;
    joined_ = false;
  }
  BATON_LOG(ERROR) << "step " << command.step_id() << " is refused: " << submitted.message();
  Push({.kind = EventKind::kFault,
        .status = Annotate(submitted, absl::StrCat("step ", command.step_id()))});
}

}  // namespace baton::stage
