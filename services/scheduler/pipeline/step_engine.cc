#include "services/scheduler/pipeline/step_engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "services/scheduler/core/admission_policy.h"
#include "services/scheduler/pipeline/closed_for.h"
#include "services/scheduler/pipeline/step_encoding.h"
#include "services/scheduler/pipeline/stop_mask.h"

namespace baton::scheduler {
namespace {

// Frames are not called lost earlier: TCP may have sent them again twice by then, 200 and 400 ms
// apart, and a stage whose transport has not looked has told so in two heartbeats.
constexpr absl::Duration kLeastLinkLimit = absl::Seconds(1);

// What a refused caller is told to wait at least; how long a group stays incomplete nobody knows.
constexpr absl::Duration kRetryAfter = absl::Seconds(1);

absl::Status TakesNoCommands() {
  return absl::UnavailableError("its worker takes no more commands");
}

}  // namespace

StepEngine::StepEngine(StepEngineOptions options, MonotonicTime now)
    : options_(std::move(options)),
      schedule_(options_.schedule),
      registry_(options_.plans, options_.heartbeat_timeout, options_.nonce),
      reports_(registry_.num_stages()),
      progress_(registry_.num_stages(), options_.step_timeout),
      links_(registry_.num_stages(), std::max(options_.heartbeat_timeout, kLeastLinkLimit)),
      readers_(options_.reader_stall_timeout,
               size_t{options_.schedule.max_running} + options_.schedule.max_waiting),
      unready_since_(now),
      last_heartbeat_(now),
      last_advance_(now),
      next_advance_(now),
      reporter_(options_.watch, options_.observer) {
  BATON_CHECK(!options_.plans.empty() && options_.watch != nullptr) << "a group without stages";
}

void StepEngine::Take(Event event, MonotonicTime now) {
  if (auto* submit = std::get_if<SubmitEvent>(&event)) {
    Submit(std::move(*submit), now);
  } else if (auto* cancel = std::get_if<CancelEvent>(&event)) {
    schedule_.Cancel(cancel->id);
    FinishRequest(cancel->id, absl::CancelledError("cancelled by its caller"));
  } else if (auto* caught_up = std::get_if<ReaderCaughtUpEvent>(&event)) {
    readers_.Forget(caught_up->id);
    schedule_.Continue(caught_up->id);
  } else if (auto* message = std::get_if<StageMessageEvent>(&event)) {
    TakeStageMessage(std::move(*message), now);
  } else if (auto* closed = std::get_if<StageClosedEvent>(&event)) {
    const std::optional<uint32_t> index = registry_.IndexOf(closed->link.get());
    if (index.has_value()) LoseStage(*index, closed->why, now);
  } else if (auto* drain = std::get_if<DrainEvent>(&event)) {
    if (phase_ != Phase::kServing) return;
    phase_ = Phase::kDraining;
    drain_deadline_ = now + drain->patience;
    reporter_.MarkChanged();
    BATON_LOG(INFO) << "draining: " << live_.size() << " requests are live";
  }
}

// Without a time to try again, it is a loss: the next scheduler can go on with the sequence.
absl::Duration StepEngine::RetryAfter(SequenceId id) const {
  if (phase_ != Phase::kServing) return absl::ZeroDuration();
  return kRetryAfter * (1 + 2 * Spread(id));
}

absl::Status StepEngine::CheckAccepting(MonotonicTime now) const {
  if (phase_ != Phase::kServing) return absl::UnavailableError("the scheduler is shutting down");
  if (registry_.ready() || ElapsedSince(unready_since_, now) <= options_.unready_grace) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat(
      "the group has been incomplete for ",
      absl::FormatDuration(absl::Trunc(ElapsedSince(unready_since_, now), absl::Seconds(1)))));
}

void StepEngine::Submit(SubmitEvent event, MonotonicTime now) {
  if (absl::Status status = CheckAccepting(now); !status.ok()) {
    CountRefusal(phase_ == Phase::kServing ? "incomplete" : "draining");
    event.sink->Finish(status, RetryAfter(event.id));
    return;
  }
  const ScheduleOptions& limits = options_.schedule;
  if (absl::Status status = FillStopMask(event.request.stop(), limits.eos_token_ids,
                                         limits.vocab_size, event.request.mutable_sampling());
      !status.ok()) {
    event.sink->Finish(status, absl::ZeroDuration());
    return;
  }
  SequenceRequest request = MakeSequenceRequest(event.id, event.request);
  request.deadline = ToCoreTime(event.deadline);
  Admission admission;
  absl::StatusOr<std::optional<Ending>> added =
      schedule_.Add(std::move(request), ToCoreTime(now), &admission);
  for (SequenceNews& news : admission.displaced) news_.push_back({std::move(news), {}, false});
  if (!added.ok()) {
    absl::Duration retry_after = absl::ZeroDuration();
    if (admission.refusal.has_value()) {
      CountRefusal(RefusalName(admission.refusal->reason));
      retry_after = absl::Microseconds(admission.refusal->retry_after);
    }
    const TimeUs closed_for = admission.refusal.has_value() ? admission.refusal->closed_for : 0;
    event.sink->Finish(closed_for > 0
                           ? WithClosedFor(added.status(), absl::Microseconds(closed_for))
                           : added.status(),
                       retry_after);
    return;
  }
  LiveRequest live{
      .sink = std::move(event.sink),
      .name = event.request.request_id(),
      .submitted = now,
      .num_prompt_tokens = static_cast<uint32_t>(event.request.prompt_token_ids_size())};
  live.sampling = std::move(*event.request.mutable_sampling());
  live_.emplace(event.id, std::move(live));
  if (added->has_value()) {
    news_.push_back({SequenceNews{.id = event.id, .ending = std::move(**added)}, {}, false});
  }
}

void StepEngine::CountRefusal(absl::string_view reason) {
  if (options_.observer != nullptr) options_.observer->OnRefused(reason);
}

void StepEngine::TakeStageMessage(StageMessageEvent event, MonotonicTime now) {
  const std::optional<uint32_t> index = registry_.IndexOf(event.link.get());
  if (event.message.has_register_()) {
    if (!index.has_value()) return Register(event.link, event.message.register_(), now);
    return LoseStage(*index, absl::InvalidArgumentError("a second registration"), now);
  }
  if (!index.has_value()) return;  // refused or lost before; its stream is ending
  registry_.Heard(*index, now);
  const absl::Status status = TakeFromStage(*index, std::move(event.message), now);
  if (!status.ok()) LoseStage(*index, status, now);
}

void StepEngine::Register(const std::shared_ptr<StageLink>& link, const v1::RegisterStage& request,
                          MonotonicTime now) {
  // While it drains, what is live needs its stages.
  if (phase_ == Phase::kLeaving || phase_ == Phase::kStopped) {
    link->Close(absl::UnavailableError("the scheduler is shutting down"));
    return;
  }
  const absl::StatusOr<uint32_t> index = registry_.Register(link, request, now);
  if (!index.ok()) {
    BATON_LOG(WARNING) << "refused worker " << request.peer().instance() << ": "
                       << index.status().message();
    link->Close(index.status());
    return;
  }
  BATON_LOG(INFO) << "stage " << *index << " is run by " << request.peer().instance() << " ("
                  << request.backend() << ", " << request.num_ranks() << " ranks)";
  v1::SchedulerMessage message;
  *message.mutable_plan() = registry_.plan(*index);
  reporter_.MarkChanged();
  if (!link->Send(std::move(message))) LoseStage(*index, TakesNoCommands(), now);
}

absl::Status StepEngine::TakeFromStage(uint32_t index, v1::WorkerMessage message,
                                       MonotonicTime now) {
  switch (message.message_case()) {
    case v1::WorkerMessage::kHeartbeat:
      TakeHeartbeat(index, message.heartbeat(), now);
      return absl::OkStatus();
    case v1::WorkerMessage::kReport:
      return TakeReport(index, std::move(*message.mutable_report()), now);
    case v1::WorkerMessage::kLoadProgress:
      reporter_.MarkChanged();
      return registry_.Progress(index, message.load_progress());
    case v1::WorkerMessage::kReady:
      RETURN_IF_ERROR(registry_.Ready(index, message.ready()));
      BATON_LOG(INFO) << "stage " << index
                      << " holds its weights: " << message.ready().weight_bytes() << " bytes in "
                      << message.ready().load_ms() << " ms, " << message.ready().num_blocks()
                      << " blocks of KV cache";
      reporter_.MarkChanged();
      FormGroup(now);
      return absl::OkStatus();
    case v1::WorkerMessage::kJoined:
      RETURN_IF_ERROR(registry_.Joined(index, message.joined()));
      reporter_.MarkChanged();
      if (registry_.ready() && !schedule_.epoch_open()) StartEpoch(now);
      return absl::OkStatus();
    case v1::WorkerMessage::kFault:
      TakeFault(index, message.fault(), now);
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError("a message without content");
  }
}

void StepEngine::FormGroup(MonotonicTime now) {
  if (!registry_.topology_due() || phase_ == Phase::kLeaving) return;
  std::vector<v1::Topology> topologies = registry_.TakeTopologies();
  for (uint32_t index = 0; index < topologies.size(); ++index) {
    v1::SchedulerMessage message;
    *message.mutable_topology() = std::move(topologies[index]);
    if (registry_.link(index)->Send(std::move(message))) continue;
    return LoseStage(index, TakesNoCommands(), now);
  }
}

void StepEngine::StartEpoch(MonotonicTime now) {
  if (std::exchange(has_served_, true) && options_.observer != nullptr) {
    options_.observer->OnRecovery(ElapsedSince(unready_since_, now));
  }
  reports_.Reset();
  progress_.Reset();
  links_.Reset();
  sent_steps_.clear();
  last_sent_step_ = 0;
  const bool expands_prompts = registry_.expands_prompts();
  for (SequenceNews& news : schedule_.OpenEpoch(registry_.num_blocks(), expands_prompts)) {
    news_.push_back({std::move(news), {}, false});
  }
  const uint32_t max_tokens = schedule_.max_sequence_tokens();
  BATON_LOG(INFO) << "epoch " << registry_.epoch() << " starts: " << registry_.num_stages()
                  << " stages, " << registry_.num_blocks() << " blocks of KV cache, sequences of "
                  << "up to " << max_tokens << " tokens, prompts "
                  << (expands_prompts ? "expanded" : "absorbed");
  if (max_tokens < options_.schedule.max_model_len) {
    BATON_LOG(WARNING) << "the KV cache holds " << max_tokens << " tokens; sequences of "
                       << options_.schedule.max_model_len << " (max-model-len) do not fit";
  }
}

absl::Status StepEngine::TakeReport(uint32_t index, v1::StepReport report, MonotonicTime now) {
  if (report.epoch() != registry_.epoch() || !schedule_.epoch_open()) return absl::OkStatus();
  const StepId step_id = report.step_id();
  ASSIGN_OR_RETURN(std::optional<CollectedStep> done, reports_.Add(index, std::move(report)));
  progress_.Finished(index, step_id, now);
  links_.Finished(index, step_id, now);
  schedule_.ReachLastStage(reports_.last_at_last_stage());
  if (!done.has_value()) return absl::OkStatus();
  absl::StatusOr<std::vector<SequenceNews>> news =
      schedule_.Complete(done->result, ToCoreTime(now));
  if (!news.ok()) {
    // Tokens come from the last stage alone, whoever's report completed the step.
    LoseStage(registry_.num_stages() - 1, news.status(), now);
    return absl::OkStatus();
  }
  for (const v1::PromptLogprobs& chunk : done->prompt_logprobs) {
    const auto live = live_.find(chunk.sequence_id());
    if (live != live_.end()) KeepPromptLogprobs(chunk, &live->second);
  }
  for (SequenceNews& item : *news) {
    PendingNews& pending = news_.emplace_back(PendingNews{std::move(item), {}, false});
    const auto logprobs = done->logprobs.find({pending.news.id, pending.news.position});
    if (logprobs == done->logprobs.end()) continue;
    pending.logprobs = std::move(logprobs->second);
    pending.has_logprobs = true;
  }
  const auto sent = sent_steps_.find(done->result.step_id);
  BATON_CHECK(sent != sent_steps_.end()) << "step " << done->result.step_id << " was not sent";
  if (sent->second.num_rows > 0) reporter_.CountStep(sent->second.num_tokens);
  if (options_.observer != nullptr) {
    options_.observer->OnStep(sent->second.num_rows, sent->second.num_tokens,
                              ElapsedSince(sent->second.time, now));
  }
  sent_steps_.erase(sent);
  return absl::OkStatus();
}

MonotonicTime StepEngine::Advance(MonotonicTime now) {
  Expire(now);
  SendSteps(now);
  SendNews(now);
  CheckTimeouts(now);
  AdvanceDrain(now);
  SendSteps(now);  // what ended just now is to be forgotten
  SendHeartbeats(now);
  reporter_.Report(registry_, schedule_, phase_ == Phase::kServing, now);
  last_advance_ = now;
  next_advance_ = std::max(now, NextDue(now));
  return next_advance_;
}

void StepEngine::SendSteps(MonotonicTime now) {
  while (std::optional<Batch> batch = schedule_.NextBatch(ToCoreTime(now))) {
    for (const BatchRow& row : batch->rows) {
      LiveRequest& live = live_.at(row.id);
      if (live.started) continue;
      live.started = true;
      live.num_cached_prompt_tokens = std::min(row.begin, live.num_prompt_tokens);
      live.queued = ElapsedSince(live.submitted, now);
      if (options_.observer != nullptr) options_.observer->OnStart(live.queued);
    }
    v1::SchedulerMessage message;
    *message.mutable_step() = EncodeStep(
        *batch, registry_.epoch(), schedule_,
        [this](SequenceId id) -> const v1::SamplingParams& { return live_.at(id).sampling; });
    reports_.Sent(batch->step_id);
    schedule_.ReachLastStage(reports_.last_at_last_stage());
    progress_.Sent(batch->step_id, batch->feedback_step(), now);
    last_sent_step_ = batch->step_id;
    sent_steps_[batch->step_id] = {now, static_cast<uint32_t>(batch->rows.size()),
                                   batch->num_tokens()};
    for (uint32_t index = 0; index < registry_.num_stages(); ++index) {
      if (registry_.link(index)->Send(message)) continue;
      return LoseStage(index, TakesNoCommands(), now);
    }
  }
}

void StepEngine::SendNews(MonotonicTime now) {
  std::vector<PendingNews> news = std::exchange(news_, {});
  uint64_t num_tokens = 0;
  for (PendingNews& pending : news) {
    if (pending.news.token.has_value()) ++num_tokens;
    Deliver(std::move(pending), now);
  }
  if (num_tokens > 0 && options_.observer != nullptr) options_.observer->OnTokens(num_tokens);
}

void StepEngine::Deliver(PendingNews pending, MonotonicTime now) {
  const SequenceId id = pending.news.id;
  const auto found = live_.find(id);
  if (found == live_.end()) return;
  LiveRequest& live = found->second;
  const PushResult pushed = live.sink->Push(
      MakeResponse(pending.news, pending.has_logprobs ? &pending.logprobs : nullptr, &live));
  const std::optional<Ending>& ending = pending.news.ending;
  if (pushed == PushResult::kGone) {
    schedule_.Cancel(id);
    FinishRequest(id, absl::CancelledError("its caller is gone"));
  } else if (ending.has_value() && ending->cause == FinishCause::kFailed) {
    FinishRequest(id, absl::InternalError(ending->message));
  } else if (ending.has_value() && ending->cause == FinishCause::kInvalid) {
    FinishRequest(id, absl::InvalidArgumentError(ending->message));
  } else if (ending.has_value() && ending->cause == FinishCause::kNotCarried) {
    FinishRequest(id, absl::UnavailableError(ending->message), RetryAfter(id));
  } else if (ending.has_value() && ending->cause == FinishCause::kExpired) {
    FinishRequest(id, absl::DeadlineExceededError(
                          live.started ? "the deadline of the request passed while it ran"
                                       : "the deadline of the request passed while it waited"));
  } else if (ending.has_value() && ending->cause == FinishCause::kRefused) {
    CountRefusal(RefusalName(RefusalReason::kDisplaced));
    FinishRequest(id, absl::ResourceExhaustedError(ending->message),
                  absl::Microseconds(schedule_.RetryTime(id)));
  } else if (ending.has_value() && ending->cause == FinishCause::kOverloaded) {
    CountRefusal("stage_overloaded");
    FinishRequest(id, absl::ResourceExhaustedError(ending->message), RetryAfter(id));
  } else if (ending.has_value()) {
    FinishRequest(id, absl::OkStatus());
  } else if (pushed == PushResult::kFull) {
    SuspendReader(id, now);
  }
}

void StepEngine::FinishRequest(SequenceId id, const absl::Status& status,
                               absl::Duration retry_after) {
  const auto found = live_.find(id);
  if (found == live_.end()) return;
  found->second.sink->Finish(status, retry_after);
  readers_.Forget(id);
  live_.erase(found);
}

void StepEngine::AbortAll(const absl::Status& status, v1::FinishReason reason) {
  for (SequenceId id : schedule_.LiveIds()) {
    schedule_.Cancel(id);
    v1::SubmitResponse response;
    response.set_finish_reason(reason);
    live_.at(id).sink->Push(std::move(response));
    FinishRequest(id, status, RetryAfter(id));
  }
}

}  // namespace baton::scheduler
