// Who runs which stage, how far each has come, and the epoch.
//
//   absent --register--> loading --ready--> joining --joined--> ready
//     ^                                       ^                   |
//     +------------- leaves (any) ------------+--- another left --+
//
// A stage that leaves raises the epoch; those with their weights resident then wait to join again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "protos/baton/v1/scheduling.pb.h"
#include "protos/baton/v1/stage.pb.h"
#include "services/scheduler/pipeline/monotonic_time.h"
#include "services/scheduler/pipeline/stage_link.h"

namespace baton::scheduler {

// Not thread-safe: the step loop owns it.
class StageRegistry final {
 public:
  // One plan per stage, in order. A stage that is silent for `heartbeat_timeout` counts as lost.
  // `nonce` goes into every topology; 0: none.
  StageRegistry(std::vector<v1::StagePlan> plans, absl::Duration heartbeat_timeout,
                uint32_t nonce = 0);

  uint32_t num_stages() const { return static_cast<uint32_t>(stages_.size()); }
  uint64_t epoch() const { return epoch_; }
  // Stages that have a worker.
  uint32_t num_attached() const;
  // Every stage has joined the current epoch.
  bool ready() const;

  // Gives the worker behind `link` a stage. Errors: FailedPrecondition (protocol version),
  // InvalidArgument (no such stage, other number of ranks). It may try again after AlreadyExists
  // (taken) and Aborted (it expands prompts and another stage's worker does not, or the other way
  // round): whoever is in its way may be gone, and not be missed yet.
  absl::StatusOr<uint32_t> Register(std::shared_ptr<StageLink> link,
                                    const v1::RegisterStage& request, MonotonicTime now);
  // The worker holds its weights and looks for its neighbours, or waits to.
  bool joining(uint32_t index) const { return stages_[index].phase == v1::STAGE_PHASE_JOINING; }
  const v1::StagePlan& plan(uint32_t index) const { return stages_[index].plan; }
  std::optional<uint32_t> IndexOf(const StageLink* link) const;
  // Null while the stage is absent.
  StageLink* link(uint32_t index) const { return stages_[index].link.get(); }

  // The worker said something. InvalidArgument if it is not its turn to say that.
  absl::Status Progress(uint32_t index, const v1::LoadProgress& progress);
  absl::Status Ready(uint32_t index, const v1::StageReady& ready);
  absl::Status Joined(uint32_t index, const v1::StageJoined& joined);
  void Heard(uint32_t index, MonotonicTime now) { stages_[index].last_heard = now; }
  // Every attached stage counts as heard at `now`: the listener itself was asleep.
  void HeardAll(MonotonicTime now);
  // The listener was late by so much: that counts against nobody.
  void Forgive(absl::Duration late, MonotonicTime now);
  // Every other stage than `index` was heard within `time` before `now`.
  bool HeardOthers(uint32_t index, absl::Duration time, MonotonicTime now) const;
  // Stages that were silent for too long.
  std::vector<uint32_t> Silent(MonotonicTime now) const;
  // When the next of them will have been; the end of time if none is attached.
  MonotonicTime next_silence() const;
  // The worker is gone; the epoch rises.
  void Leave(uint32_t index);

  // Every stage holds its weights and none has the current epoch's topology yet.
  bool topology_due() const;
  // What each stage gets then, in order. Afterwards topology_due is false.
  std::vector<v1::Topology> TakeTopologies();
  // Blocks of the smallest stage, or as many as the running sequences can fill if less; 0 while not
  // every stage has told.
  uint32_t num_blocks() const;

  // The attached workers compute the whole blocks of prompts in the expanded form of attention; all
  // say the same. False if none is attached.
  bool expands_prompts() const;

  void FillState(v1::GroupState* state) const;

 private:
  struct StageSlot {
    v1::StagePlan plan;
    v1::StagePhase phase = v1::STAGE_PHASE_ABSENT;
    std::shared_ptr<StageLink> link;
    std::string instance;
    bool expands_prompts = false;
    uint64_t loaded_bytes = 0;
    uint64_t total_bytes = 0;
    v1::StageReady ready;
    MonotonicTime last_heard;
  };

  absl::StatusOr<uint32_t> FreeStage(const v1::RegisterStage& request) const;
  // Aborted if `request`, for stage `index`, has another form of attention for prompts than a
  // worker that is attached.
  absl::Status CheckForm(uint32_t index, const v1::RegisterStage& request) const;
  absl::Status CheckPhase(uint32_t index, v1::StagePhase phase, const char* message) const;

  const absl::Duration heartbeat_timeout_;
  const uint32_t nonce_;
  std::vector<StageSlot> stages_;
  uint64_t epoch_ = 1;
  bool topology_sent_ = false;  // in the current epoch
};

}  // namespace baton::scheduler
