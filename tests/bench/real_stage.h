// One rank's share of a stage of DeepSeek-R1 on the first GPU, with made-up weights.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/model/model_config.h"
#include "kernels/api/ops.h"
#include "services/stage_worker/kv_cache/kv_cache.h"
#include "services/stage_worker/kv_cache/step_batch.h"
#include "services/stage_worker/model/stage_model.h"
#include "services/stage_worker/model/workspace.h"
#include "services/stage_worker/weights/weight_store.h"

namespace baton::bench {

// Rank 0 of eight, alone: what the others would add to sums and gathers is left out, so shapes and
// times are those of a real rank but for the wait for its peers. The last 31 layers with the head.
class RealStage {
 public:
  struct Options {
    ModelConfig config;
    int64_t num_layers = 31;
    int64_t max_rows = 2048;
    int64_t max_sequences = 128;
    int64_t max_model_len = 8192;
    int64_t num_blocks = 0;
  };

  // Weights are made slice by slice and go the way that loaded ones go. Errors: ResourceExhausted.
  static absl::StatusOr<std::unique_ptr<RealStage>> Create(const Options& options,
                                                           kernels::Backend* backend);

  // Runs a step on hidden states that depend on each row's seed alone: `rows` of one sequence each
  // at `position` (decoding), or of one sequence from `position` on (a chunk of a prompt). Returns
  // microseconds from the step's arrival until its layers are done.
  double RunLayers(const stage::StepBatch& batch, const std::vector<uint32_t>& seeds);
  static stage::StepBatch DecodeStep(int64_t rows, int64_t position);
  static stage::StepBatch PrefillStep(int64_t rows, int64_t position);

  // On own_device(): from now on its steps of few rows run in graphs. Returns how many there are.
  size_t MakeGraphs();

  // Bits of the stream's row after the last step.
  std::vector<uint16_t> StreamRow(int64_t row) const;
  // Different experts that the rows of the last step chose in the last layer.
  int64_t NumHitExperts(int64_t rows) const;
  // Draws from the first rows of the last step; false if a logit was not finite.
  bool DrawsFiniteTokens(const stage::StepBatch& batch);
  // From now on, the operations and collectives of `device`, on the same weights; it must outlive
  // their use, and be of the same GPU. The first ones again with own_device().
  void UseDevice(kernels::Team::Device& device);
  kernels::Team::Device& own_device() { return team_.devices[0]; }

  uint64_t weight_bytes() const { return store_->resident_bytes(); }
  uint64_t workspace_bytes() const;
  double load_seconds() const { return load_seconds_; }

 private:
  RealStage() = default;
  absl::Status Load();

  Options options_;
  StageShape stage_;
  kernels::Team team_;
  std::unique_ptr<kernels::Collectives> lone_;
  std::unique_ptr<stage::WeightStore> store_;
  std::unique_ptr<stage::Workspace> workspace_;
  std::unique_ptr<stage::KvCache> cache_;
  std::unique_ptr<stage::StageModel> model_;
  stage::DeviceContext context_;
  double load_seconds_ = 0.0;
};

}  // namespace baton::bench
