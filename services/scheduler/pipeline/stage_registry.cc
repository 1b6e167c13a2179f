#include "services/scheduler/pipeline/stage_registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/rpc/peer.h"
#include "common/status/status_macros.h"

namespace baton::scheduler {
namespace {

constexpr size_t kMaxAddressBytes = 4096;

}  // namespace

StageRegistry::StageRegistry(std::vector<v1::StagePlan> plans, absl::Duration heartbeat_timeout,
                             uint32_t nonce)
    : heartbeat_timeout_(heartbeat_timeout), nonce_(nonce) {
  for (v1::StagePlan& plan : plans) stages_.emplace_back().plan = std::move(plan);
}

bool StageRegistry::ready() const {
  return std::all_of(stages_.begin(), stages_.end(),
                     [](const StageSlot& stage) { return stage.phase == v1::STAGE_PHASE_READY; });
}

uint32_t StageRegistry::num_attached() const {
  return static_cast<uint32_t>(
      std::count_if(stages_.begin(), stages_.end(),
                    [](const StageSlot& stage) { return stage.link != nullptr; }));
}

absl::StatusOr<uint32_t> StageRegistry::FreeStage(const v1::RegisterStage& request) const {
  if (request.has_stage_index()) {
    const uint32_t index = request.stage_index();
    if (index >= num_stages()) {
      return absl::InvalidArgumentError(
          absl::StrCat("stage ", index, " of a group with ", num_stages(), " stages (from 0)"));
    }
    if (stages_[index].link != nullptr) {
      return absl::AlreadyExistsError(
          absl::StrCat("stage ", index, " is run by ", stages_[index].instance));
    }
    return index;
  }
  for (uint32_t index = 0; index < num_stages(); ++index) {
    if (stages_[index].link == nullptr) return index;
  }
  return absl::AlreadyExistsError(
      absl::StrCat("all ", num_stages(), " stages of the group have a worker"));
}

absl::Status StageRegistry::CheckForm(uint32_t index, const v1::RegisterStage& request) const {
  const auto form = [](bool expands) { return expands ? "expanded" : "absorbed"; };
  for (uint32_t other = 0; other < num_stages(); ++other) {
    const StageSlot& stage = stages_[other];
    if (stage.link == nullptr || stage.expands_prompts == request.expands_prompts()) continue;
    // That one may be about to go: whoever starts the group anew with the other form stops it, too.
    return absl::AbortedError(absl::StrCat(
        "the worker for stage ", index, " computes prompts in the ",
        form(request.expands_prompts()), " form of attention, that of stage ", other, " (",
        stage.instance, ") in the ", form(stage.expands_prompts),
        " form; start every stage-worker with the same backend and the same --prompt-attention"));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> StageRegistry::Register(std::shared_ptr<StageLink> link,
                                                 const v1::RegisterStage& request,
                                                 MonotonicTime now) {
  RETURN_IF_ERROR(CheckPeer(request.peer(), "scheduler"));
  const uint32_t num_ranks = stages_.front().plan.num_ranks();
  if (request.num_ranks() != num_ranks) {
    return absl::InvalidArgumentError(absl::StrCat("the worker has ", request.num_ranks(),
                                                   " ranks; the group's tensor-parallel size is ",
                                                   num_ranks));
  }
  ASSIGN_OR_RETURN(const uint32_t index, FreeStage(request));
  RETURN_IF_ERROR(CheckForm(index, request));
  StageSlot& stage = stages_[index];
  stage.expands_prompts = request.expands_prompts();
  stage.phase = v1::STAGE_PHASE_LOADING;
  stage.link = std::move(link);
  stage.instance = request.peer().instance();
  stage.last_heard = now;
  return index;
}

std::optional<uint32_t> StageRegistry::IndexOf(const StageLink* link) const {
  for (uint32_t index = 0; index < num_stages(); ++index) {
    if (stages_[index].link.get() == link) return index;
  }
  return std::nullopt;
}

absl::Status StageRegistry::CheckPhase(uint32_t index, v1::StagePhase phase,
                                       const char* message) const {
  if (stages_[index].phase == phase) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("stage ", index, " sent ", message, " in phase ",
                                                 v1::StagePhase_Name(stages_[index].phase)));
}

absl::Status StageRegistry::Progress(uint32_t index, const v1::LoadProgress& progress) {
  RETURN_IF_ERROR(CheckPhase(index, v1::STAGE_PHASE_LOADING, "load_progress"));
  stages_[index].loaded_bytes = progress.loaded_bytes();
  stages_[index].total_bytes = progress.total_bytes();
  return absl::OkStatus();
}

absl::Status StageRegistry::Ready(uint32_t index, const v1::StageReady& ready) {
  RETURN_IF_ERROR(CheckPhase(index, v1::STAGE_PHASE_LOADING, "ready"));
  if (ready.num_blocks() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("stage ", index, " has no memory for a single block of KV cache"));
  }
  const int num_ranks = static_cast<int>(stages_[index].plan.num_ranks());
  // With one stage nobody sends to it; else the first one gets tokens from the last.
  if (num_stages() > 1 && ready.addresses_size() != num_ranks) {
    return absl::InvalidArgumentError(absl::StrCat("stage ", index, " gives ",
                                                   ready.addresses_size(), " addresses for ",
                                                   num_ranks, " ranks"));
  }
  std::vector<bool> seen(static_cast<size_t>(num_ranks), false);
  for (const v1::RankAddress& address : ready.addresses()) {
    if (address.rank() >= seen.size() || seen[address.rank()]) {
      return absl::InvalidArgumentError(
          absl::StrCat("stage ", index, " gives an address of rank ", address.rank(),
                       "; expected: one of each rank from 0 to ", num_ranks - 1));
    }
    seen[address.rank()] = true;
    if (address.ucx_address().size() <= kMaxAddressBytes) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("stage ", index, ": the address of rank ", address.rank(), " has ",
                     address.ucx_address().size(), " bytes; at most ", kMaxAddressBytes));
  }
  StageSlot& stage = stages_[index];
  stage.ready = ready;
  stage.loaded_bytes = std::max(stage.loaded_bytes, stage.total_bytes);
  stage.phase = v1::STAGE_PHASE_JOINING;
  return absl::OkStatus();
}

absl::Status StageRegistry::Joined(uint32_t index, const v1::StageJoined& joined) {
  if (joined.epoch() < epoch_) return absl::OkStatus();  // overtaken by a loss
  if (joined.epoch() > epoch_ || !topology_sent_) {
    return absl::InvalidArgumentError(
        absl::StrCat("stage ", index, " joined epoch ", joined.epoch(), ", which has not begun"));
  }
  RETURN_IF_ERROR(CheckPhase(index, v1::STAGE_PHASE_JOINING, "joined"));
  stages_[index].phase = v1::STAGE_PHASE_READY;
  return absl::OkStatus();
}

void StageRegistry::HeardAll(MonotonicTime now) {
  for (StageSlot& stage : stages_) stage.last_heard = now;
}

void StageRegistry::Forgive(absl::Duration late, MonotonicTime now) {
  for (StageSlot& stage : stages_) stage.last_heard = std::min(now, stage.last_heard + late);
}

bool StageRegistry::HeardOthers(uint32_t index, absl::Duration time, MonotonicTime now) const {
  for (uint32_t other = 0; other < num_stages(); ++other) {
    if (other == index) continue;
    if (stages_[other].link == nullptr) return false;
    if (ElapsedSince(stages_[other].last_heard, now) > time) return false;
  }
  return true;
}

MonotonicTime StageRegistry::next_silence() const {
  MonotonicTime next = MonotonicTime::max();
  for (const StageSlot& stage : stages_) {
    if (stage.link == nullptr) continue;
    next = std::min(next, stage.last_heard + heartbeat_timeout_ + absl::Microseconds(1));
  }
  return next;
}

std::vector<uint32_t> StageRegistry::Silent(MonotonicTime now) const {
  std::vector<uint32_t> silent;
  for (uint32_t index = 0; index < num_stages(); ++index) {
    const StageSlot& stage = stages_[index];
    if (stage.link == nullptr) continue;
    if (ElapsedSince(stage.last_heard, now) > heartbeat_timeout_) silent.push_back(index);
  }
  return silent;
}

void StageRegistry::Leave(uint32_t index) {
  StageSlot absent;
  absent.plan = std::move(stages_[index].plan);
  stages_[index] = std::move(absent);
  for (StageSlot& stage : stages_) {
    if (stage.phase == v1::STAGE_PHASE_READY) stage.phase = v1::STAGE_PHASE_JOINING;
  }
  ++epoch_;
  topology_sent_ = false;
}

bool StageRegistry::topology_due() const {
  return !topology_sent_ && std::all_of(stages_.begin(), stages_.end(), [](const StageSlot& stage) {
    return stage.phase == v1::STAGE_PHASE_JOINING;
  });
}

std::vector<v1::Topology> StageRegistry::TakeTopologies() {
  std::vector<v1::Topology> topologies(num_stages());
  for (uint32_t index = 0; index < num_stages(); ++index) {
    topologies[index].set_epoch(epoch_);
    topologies[index].set_scheduler_nonce(nonce_);
    topologies[index].set_num_blocks(num_blocks());
    if (index + 1 == num_stages()) continue;
    *topologies[index].mutable_next_stage() = stages_[index + 1].ready.addresses();
  }
  if (num_stages() > 1) {
    *topologies.back().mutable_first_stage() = stages_.front().ready.addresses();
  }
  topology_sent_ = true;
  return topologies;
}

uint32_t StageRegistry::num_blocks() const {
  uint32_t smallest = UINT32_MAX;
  for (const StageSlot& stage : stages_) smallest = std::min(smallest, stage.ready.num_blocks());
  const v1::StagePlan& plan = stages_.front().plan;
  // More than all running sequences can fill is of no use, whatever a worker claims to have.
  if (plan.block_tokens() > 0 && plan.max_model_len() > 0 && plan.max_step_sequences() > 0) {
    const uint64_t blocks_each =
        (uint64_t{plan.max_model_len()} + plan.block_tokens() - 1) / plan.block_tokens();
    smallest = static_cast<uint32_t>(
        std::min<uint64_t>(smallest, blocks_each * plan.max_step_sequences()));
  }
  const uint32_t wanted = plan.num_blocks_override();
  return wanted > 0 ? std::min(smallest, wanted) : smallest;
}

bool StageRegistry::expands_prompts() const {
  return std::any_of(stages_.begin(), stages_.end(),
                     [](const StageSlot& stage) { return stage.expands_prompts; });
}

void StageRegistry::FillState(v1::GroupState* state) const {
  state->set_ready(ready());
  state->set_epoch(epoch_);
  for (const StageSlot& stage : stages_) {
    v1::StageState* entry = state->add_stages();
    entry->set_stage_index(stage.plan.stage_index());
    entry->set_phase(stage.phase);
    entry->set_loaded_bytes(stage.loaded_bytes);
    entry->set_total_bytes(stage.total_bytes);
    entry->set_instance(stage.instance);
  }
}

}  // namespace baton::scheduler
