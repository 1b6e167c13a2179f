// One device with a toy model's first layers, to run single blocks of the model on.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "services/stage_worker/kv_cache/kv_cache.h"
#include "services/stage_worker/model/device_context.h"
#include "services/stage_worker/weights/weight_store.h"
#include "tests/fakes/toy_model.h"

namespace baton::fakes {

// All ranks on one device of the reference backend, float32, whole model, weights of seed 3. One
// sequence with blocks 2, 0 at hand. Weights for both forms of attention.
class ToyDevice {
 public:
  explicit ToyDevice(int num_ranks);
  ToyDevice(const ToyDevice&) = delete;
  ToyDevice& operator=(const ToyDevice&) = delete;

  // Rows for positions [begin, begin + tokens.size()) of the sequence; hold until the next call.
  stage::StepRows Rows(int32_t begin, std::vector<uint32_t> tokens);
  // Fills the normed rows with values that depend on seed and row alone.
  void FillNormed(int64_t first_row, int64_t num_rows);
  // Row `row` of `tensor`, float32.
  static std::vector<float> RowOf(const TensorView& tensor, int64_t row);

  const stage::DeviceContext& context() const { return context_; }
  stage::DeviceContext& context() { return context_; }
  const stage::Workspace& workspace() const { return *workspace_; }
  const stage::StageWeights& weights() const { return store_->weights(); }
  const stage::KvCache& cache() const { return *cache_; }
  const MemoryCheckpoint& checkpoint() const { return checkpoint_; }

 private:
  const ModelConfig config_;
  const MemoryCheckpoint checkpoint_;
  kernels::Team team_;
  std::unique_ptr<stage::WeightStore> store_;
  std::unique_ptr<stage::Workspace> workspace_;
  std::unique_ptr<stage::KvCache> cache_;
  stage::DeviceContext context_;
  std::vector<uint32_t> tokens_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> sequence_rows_;
  const std::vector<int32_t> block_table_ = {2, 0};
};

}  // namespace baton::fakes
