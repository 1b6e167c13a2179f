// All stages of a model in one process: executors joined by in-process pipes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/model/model_config.h"
#include "common/model/weight_inventory.h"
#include "kernels/api/ops.h"
#include "services/stage_worker/execution/stage_executor.h"
#include "tests/fakes/hidden_state_pipe.h"
#include "tests/fakes/memory_checkpoint.h"
#include "tests/fakes/token_pipe.h"

namespace baton::fakes {

struct StageGroupOptions {
  ModelConfig config;
  const MemoryCheckpoint* checkpoint = nullptr;
  kernels::Backend* backend = nullptr;
  int num_stages = 1;
  int num_ranks = 1;
  int num_devices = 1;
  DataType compute_type = DataType::kFloat32;
  int64_t max_model_len = 4096;
  int64_t max_step_tokens = 512;
  int64_t max_step_sequences = 64;
  int64_t max_steps_in_flight = 2;
  int64_t num_blocks = 128;
  int64_t num_speculative_tokens = 0;
  bool expand_prompts = false;
  stage::ConstraintOptions constraints;
  stage::ActivationTap* tap = nullptr;  // of every stage's first device
};

class StageGroup {
 public:
  static absl::StatusOr<std::unique_ptr<StageGroup>> Create(const StageGroupOptions& options);
  ~StageGroup();

  // A new epoch on all stages: sequences are forgotten.
  absl::Status BeginEpoch();

  // Submits the step to all stages with the next step id; does not wait.
  absl::Status Submit(stage::StepWork work);
  // The last stage's result of the oldest step submitted and not yet taken.
  absl::StatusOr<stage::StepResult> TakeResult();
  // Its output.
  absl::StatusOr<stage::StepOutput> Take();
  // Waits until a stage's result of that step is there; false if it is not within `limit`.
  bool WaitForResult(int index, absl::Duration limit);
  // Submit and Take.
  absl::StatusOr<stage::StepOutput> Run(stage::StepWork work);

  stage::StageExecutor& executor(int index) {
    return *stages_[static_cast<size_t>(index)].executor;
  }
  HiddenStatePipe& pipe(int index) { return *pipes_[static_cast<size_t>(index)]; }
  TokenPipe& token_pipe() { return *token_pipe_; }
  // Of the step submitted last in this epoch; 0: none.
  uint64_t last_step_id() const { return last_step_id_; }
  int64_t num_blocks() const { return options_.num_blocks; }
  int64_t max_step_tokens() const { return options_.max_step_tokens; }
  int64_t vocab_size() const { return options_.config.vocab_size; }

 private:
  class Results;
  struct Stage {
    std::unique_ptr<Results> results;
    std::unique_ptr<stage::StageExecutor> executor;
  };

  explicit StageGroup(const StageGroupOptions& options);
  absl::Status AddStage(const StageShape& shape);

  const StageGroupOptions options_;
  std::vector<std::unique_ptr<HiddenStatePipe>> pipes_;
  std::unique_ptr<TokenPipe> token_pipe_ = std::make_unique<TokenPipe>();
  std::vector<Stage> stages_;
  uint64_t epoch_ = 0;
  uint64_t last_step_id_ = 0;
};

}  // namespace baton::fakes
