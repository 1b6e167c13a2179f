#include "tests/unit/services/scheduler/pipeline/simulated_group.h"

#include <algorithm>
#include <utility>

#include "common/rpc/peer.h"
#include "tests/fakes/fake_tokens.h"

namespace baton::scheduler {

PushResult SimulatedCaller::Push(v1::SubmitResponse response) {
  if (gone) return PushResult::kGone;
  num_unread += static_cast<size_t>(response.tokens_size());
  for (const v1::GeneratedToken& token : response.tokens()) tokens.push_back(token.token_id());
  for (const auto& logprobs : response.prompt_logprobs()) prompt_logprobs.push_back(logprobs);
  if (response.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) reason = response.finish_reason();
  num_cached += response.cached_prompt_tokens();
  if (response.has_stop_token_id()) stop_token = response.stop_token_id();
  return num_unread > most_unread ? PushResult::kFull : PushResult::kTaken;
}

void SimulatedCaller::Finish(const absl::Status& end, absl::Duration retry) {
  status = end;
  retry_after = retry;
  ++num_finishes;
}

bool SimulatedStage::Send(v1::SchedulerMessage message) {
  if (closed.has_value() || full) return false;
  inbox.push_back(std::move(message));
  return true;
}

void SimulatedStage::Close(const absl::Status& status) {
  if (!closed.has_value()) closed = status;
}

SimulatedGroup::SimulatedGroup(SimulatedGroupOptions options)
    : options_(options), random_(options.seed) {
  StepEngineOptions engine;
  engine.schedule.block_tokens = options.block_tokens;
  engine.schedule.max_step_tokens = options.max_step_tokens;
  engine.schedule.max_running = options.max_running;
  engine.schedule.max_waiting = options.max_waiting;
  engine.schedule.max_steps_in_flight = options.num_stages;
  engine.schedule.lookahead_steps = options.lookahead_steps;
  engine.schedule.max_model_len = options.max_model_len;
  engine.schedule.vocab_size = kVocabSize;
  engine.schedule.eos_token_ids = {kEos};
  for (uint32_t i = 0; i < options.num_stages; ++i) {
    v1::StagePlan& plan = engine.plans.emplace_back();
    plan.set_stage_index(i);
    plan.set_num_stages(options.num_stages);
    plan.set_num_ranks(1);
    plan.set_model_fingerprint("simulated");
  }
  engine.unready_grace = options.unready_grace;
  engine.heartbeat_timeout = options.heartbeat_timeout;
  engine.watch = &watch_;
  engine.observer = options.observer;
  engine_ = std::make_unique<StepEngine>(std::move(engine), now_);
  Advance();
}

std::shared_ptr<SimulatedStage> SimulatedGroup::AddStage(uint32_t index, bool expands_prompts) {
  FakeStageState::Options state;
  state.vocab_size = kVocabSize;
  state.block_tokens = options_.block_tokens;
  state.max_step_tokens = options_.max_step_tokens;
  state.max_step_sequences = options_.max_running;
  state.samples = index + 1 == options_.num_stages;
  auto stage = std::make_shared<SimulatedStage>(state);
  stages_[index] = stage;
  all_stages_.push_back(stage);
  v1::WorkerMessage message;
  *message.mutable_register_()->mutable_peer() = MakePeerInfo("stage-worker");
  message.mutable_register_()->set_stage_index(index);
  message.mutable_register_()->set_num_ranks(1);
  message.mutable_register_()->set_expands_prompts(expands_prompts);
  engine_->Take(StageMessageEvent{stage, std::move(message)}, now_);
  Advance();
  return stage;
}

void SimulatedGroup::KillStage(uint32_t index) {
  const std::shared_ptr<SimulatedStage> stage = stages_.at(index);
  stages_.erase(index);
  stage->alive = false;
  engine_->Take(StageClosedEvent{stage, absl::UnavailableError("killed")}, now_);
  Advance();
}

bool SimulatedGroup::IsDeadly(const v1::StepCommand& step, const FakeStageState& state) const {
  if (!options_.deadly_token.has_value()) return false;
  return std::any_of(step.chunks().begin(), step.chunks().end(), [&](const auto& chunk) {
    const std::vector<uint32_t> tokens = state.TokensOf(chunk.sequence_id());
    return std::find(tokens.begin(), tokens.end(), *options_.deadly_token) != tokens.end();
  });
}

bool SimulatedGroup::StepStage(uint32_t index) {
  const std::shared_ptr<SimulatedStage> stage = stages_.at(index);
  if (stage->inbox.empty() || stage->frozen || stage->stalled) return false;
  const v1::SchedulerMessage message = std::move(stage->inbox.front());
  stage->inbox.pop_front();
  v1::WorkerMessage answer;
  if (message.has_plan()) {
    answer.mutable_ready()->set_num_blocks(options_.num_blocks + index);
    answer.mutable_ready()->add_addresses()->set_ucx_address("stage");
  } else if (message.has_topology()) {
    stage->state.Reset(message.topology().epoch(), message.topology().num_blocks());
    answer.mutable_joined()->set_epoch(message.topology().epoch());
  } else if (message.has_step()) {
    *answer.mutable_report() = stage->state.Run(message.step());
    if (IsDeadly(message.step(), stage->state)) {
      KillStage(index);
      AddStage(index);
      return true;
    }
  } else if (message.has_drain()) {
    KillStage(index);
    return true;
  } else {
    return true;
  }
  engine_->Take(StageMessageEvent{stage, std::move(answer)}, now_);
  Advance();
  return true;
}

bool SimulatedGroup::StepRandomStage() {
  if (stages_.empty()) return false;
  auto entry = stages_.begin();
  std::advance(entry, random_() % stages_.size());
  return StepStage(entry->first);
}

void SimulatedGroup::Settle() {
  bool busy = true;
  while (busy) {
    busy = false;
    for (uint32_t index = 0; index < options_.num_stages; ++index) {
      if (stages_.contains(index) && StepStage(index)) busy = true;
    }
  }
}

void SimulatedGroup::Pass(absl::Duration duration) {
  now_ = now_ + duration;
  for (const auto& [index, stage] : stages_) {
    if (stage->frozen) continue;
    v1::WorkerMessage message;
    message.mutable_heartbeat();
    engine_->Take(StageMessageEvent{stage, std::move(message)}, now_);
  }
  Advance();
}

v1::SubmitRequest SimulatedGroup::MakeRequest(uint32_t prompt_tokens, uint32_t max_tokens,
                                              uint64_t seed, std::optional<uint64_t> text) {
  v1::SubmitRequest request;
  for (uint32_t i = 0; i < prompt_tokens; ++i) {
    request.add_prompt_token_ids(
        static_cast<uint32_t>((text.value_or(seed) * 131 + i * 17) % 1000 + 2));
  }
  request.mutable_sampling()->set_seed(seed);
  request.mutable_stop()->set_max_tokens(max_tokens);
  return request;
}

SequenceId SimulatedGroup::Submit(v1::SubmitRequest request, MonotonicTime deadline) {
  const SequenceId id = next_id_++;
  auto caller = std::make_shared<SimulatedCaller>();
  caller->request = request;
  callers_[id] = caller;
  engine_->Take(SubmitEvent{id, std::move(request), caller, deadline}, now_);
  Advance();
  return id;
}

void SimulatedGroup::Cancel(SequenceId id) {
  engine_->Take(CancelEvent{id}, now_);
  Advance();
}

void SimulatedGroup::Read(SequenceId id) {
  SimulatedCaller& caller = *callers_.at(id);
  const bool was_behind = caller.num_unread > caller.most_unread;
  caller.num_unread = 0;
  if (!was_behind) return;
  engine_->Take(ReaderCaughtUpEvent{id}, now_);
  Advance();
}

std::vector<uint32_t> SimulatedGroup::Expected(const v1::SubmitRequest& request, uint32_t max_len) {
  const std::vector<uint32_t> prompt(request.prompt_token_ids().begin(),
                                     request.prompt_token_ids().end());
  const uint32_t room = max_len - static_cast<uint32_t>(prompt.size());
  return FakeContinuation(prompt, request.sampling().seed(), kVocabSize,
                          std::min(request.stop().max_tokens(), room));
}

std::vector<std::string> SimulatedGroup::violations() const {
  std::vector<std::string> all;
  for (const auto& stage : all_stages_) {
    all.insert(all.end(), stage->state.violations().begin(), stage->state.violations().end());
  }
  return all;
}

}  // namespace baton::scheduler
