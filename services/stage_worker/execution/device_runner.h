// Runs steps on one device of the stage.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/structured_output/vocabulary_trie.h"
#include "kernels/api/ops.h"
#include "services/stage_worker/execution/draw_exchange.h"
#include "services/stage_worker/execution/neighbour_waits.h"
#include "services/stage_worker/execution/queued_step.h"
#include "services/stage_worker/execution/step_end.h"
#include "services/stage_worker/execution/step_result.h"
#include "services/stage_worker/execution/step_vote.h"
#include "services/stage_worker/kv_cache/kv_cache.h"
#include "services/stage_worker/model/draw_constraints.h"
#include "services/stage_worker/model/stage_model.h"
#include "services/stage_worker/model/workspace.h"
#include "services/stage_worker/weights/weight_store.h"

namespace baton::stage {

struct DeviceRunnerOptions {
  WorkspaceShape shape;  // num_local_ranks is filled in from the device
  absl::Duration step_timeout;
  int64_t max_steps_in_flight = 1;
  int64_t num_drafts = 0;  // behind each token that is drawn; with the MTP module
  bool feeds_back = true;  // what is drawn is handed on to later steps
  bool expand_prompts = false;
  ConstraintOptions constraints;  // of structured output, where tokens are drawn
  ActivationTap* tap = nullptr;
  // Of the stage; must be there and outlive the runner.
  StepVote* vote = nullptr;
  StepEnd* end = nullptr;
  NeighbourWaits* waits = nullptr;
  DrawExchange* draws = nullptr;     // likewise; of a stage with the MTP module
  StepObserver* observer = nullptr;  // of every step; must outlive the runner
};

class DeviceRunner final {
 public:
  // Allocates the workspace. Errors: those of WeightStore::Create and Ops::Allocate.
  static absl::StatusOr<std::unique_ptr<DeviceRunner>> Create(DeviceRunnerOptions options,
                                                              kernels::Team::Device device);
  // Graphs go before the memory that they name.
  ~DeviceRunner() { ForgetGraphs(); }

  // Before the first step, when the weights are complete; all devices of the stage at the same
  // time: makes room for the largest steps, of each form of attention, and one of one row, so that
  // workspace_bytes() is what steps will need. Errors: ResourceExhausted.
  absl::Status Rehearse();
  // While the device is idle: makes the KV cache if its size differs from `num_blocks`; its graphs
  // must be forgotten then.
  absl::Status ResizeCache(int64_t num_blocks);
  void ForgetGraphs();

  // While the device is idle: what tokens stand for, for structured output; null: not known.
  void SetVocabulary(std::shared_ptr<const structured::VocabularyTrie> vocabulary);

  // The sequences of the step that are new will be computed. Any thread.
  void Prepare(const StepWork& work);

  // On the device's thread. Every device of the stage runs every step.
  void Run(const QueuedStep& step);

  // While the device is idle.
  StageModel& model() { return *model_; }
  WeightStore& weight_store() { return *weight_store_; }
  const WeightStore& weight_store() const { return *weight_store_; }
  // Buffers of the model, and what operations hold for themselves.
  uint64_t workspace_bytes() const;
  const kernels::Ops& ops() const { return *device_.ops; }
  // Of structured output. Any thread.
  uint64_t constraint_bytes() const { return constraints_ == nullptr ? 0 : constraints_->bytes(); }
  uint64_t kv_bytes() const { return cache_ == nullptr ? 0 : cache_->bytes(); }

 private:
  struct Timing;

  DeviceRunner(DeviceRunnerOptions options, kernels::Team::Device device);

  bool ReceiveSlices(const QueuedStep& step);
  void ReleaseSlices(const QueuedStep& step);
  // Sets batch_ to the step's rows with the tokens that are fed back in place.
  bool ReceiveTokens(const QueuedStep& step);
  StepOutput Compute(const QueuedStep& step, const StepBatch& batch, Timing& timing);
  void SendStream(const QueuedStep& step);
  // Hands on what was drawn: to the other devices and later steps, and to the first stage.
  void SendTokens(const QueuedStep& step, const StepOutput& output);
  // Tells the observer once all that the stage sends of the step is handed over.
  void Report(const QueuedStep& step, StepResult result, const Timing& timing);
  // Guesses what follows, into `output`.
  void Draft(const StepBatch& batch, StepOutput& output);
  void Break(const QueuedStep& step, const absl::Status& status);
  HiddenStateKey KeyOf(const QueuedStep& step, int local_rank) const;
  bool is_first() const { return device_.first_rank == 0; }

  const DeviceRunnerOptions options_;
  kernels::Team::Device device_;
  std::unique_ptr<WeightStore> weight_store_;
  std::unique_ptr<Workspace> workspace_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<DrawConstraints> constraints_;  // where tokens are drawn
  std::unique_ptr<StageModel> model_;
  std::vector<TensorView> slices_;          // of the step under way
  std::unique_ptr<const StepBatch> batch_;  // of the step under way, if tokens were filled in
  // When the last step with rows ended.
  std::optional<std::chrono::steady_clock::time_point> last_end_;
};

}  // namespace baton::stage
