// Turns received tensors into packed weights and puts each in its place of StageWeights.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "common/model/model_config.h"
#include "common/model/weight_inventory.h"
#include "common/tensor/data_type.h"
#include "kernels/api/ops.h"
#include "services/stage_worker/weights/stage_weights.h"

namespace baton::stage {

struct WeightStoreOptions {
  ModelConfig config;
  StageShape stage;
  int num_ranks = 1;        // of the stage
  int first_rank = 0;       // of this device
  int num_local_ranks = 1;  // of this device
  DataType compute_type = DataType::kBFloat16;
  bool expand_prompts = false;  // weights for attention in the expanded form, too
  // What comes in bands comes in bands of about this much, as one chunk of a transfer does.
  size_t band_bytes = size_t{4} << 20;
};

// One slice of a tensor with its bytes.
struct ReceivedTensor {
  const WeightSpec* spec = nullptr;
  int local_rank = 0;            // meaningless for replicated tensors
  kernels::WeightMatrix matrix;  // of the slice; scales and offsets set for FP8
  // Where a slice that is a band of the rank's rows stands among them, and how many there are.
  int64_t first_row = 0;
  int64_t shard_rows = 0;

  bool is_band() const { return matrix.values.rows < shard_rows; }
};

// Threads: one caller at a time.
class WeightBuilder final {
 public:
  WeightBuilder(const WeightStoreOptions& options, kernels::Ops* ops);

  // Rows that bands of this tensor come in multiples of, each installed by itself, in any order; 0:
  // it comes whole.
  int64_t BandRows(const WeightSpec& spec) const;

  // Packs the tensor; `tensor`'s bytes may go afterwards. Errors: InvalidArgument (a name that has
  // no place in this stage), ResourceExhausted.
  absl::Status Install(const ReceivedTensor& tensor);

  const StageWeights& weights() const { return weights_; }
  // Memory of what was installed.
  uint64_t resident_bytes() const { return resident_bytes_; }

 private:
  void MakeLayer(bool dense, LayerWeights& layer) const;
  absl::Status InstallInMtp(const ReceivedTensor& tensor, absl::string_view name, MtpWeights& mtp);
  absl::Status InstallInLayer(const ReceivedTensor& tensor, absl::string_view name,
                              LayerWeights& layer);
  absl::Status InstallShard(const ReceivedTensor& tensor, absl::string_view name,
                            LayerShard& shard);
  absl::Status InstallExpert(const ReceivedTensor& tensor, absl::string_view name,
                             LayerShard& shard);
  absl::Status InstallEmbedding(const ReceivedTensor& tensor);
  absl::Status InstallTable(const ReceivedTensor& tensor, TensorView& place);
  absl::Status InstallFeedForward(const ReceivedTensor& tensor, absl::string_view name,
                                  FeedForwardShard& shard);
  absl::Status InstallVector(const ReceivedTensor& tensor, TensorView& place);
  absl::Status InstallPacked(const ReceivedTensor& tensor, PackedPtr& place);
  absl::Status InstallKvB(const ReceivedTensor& tensor, AttentionShard& shard);
  PackedPtr Pack(const kernels::WeightMatrix& matrix);
  absl::StatusOr<void*> CopyToDevice(const void* bytes, size_t num_bytes);
  absl::StatusOr<void*> Allocate(size_t num_bytes);

  const WeightStoreOptions options_;
  kernels::Ops* const ops_;
  StageWeights weights_;
  uint64_t resident_bytes_ = 0;
  std::vector<std::unique_ptr<kernels::DeviceBuffer>> buffers_;  // what the TensorViews name
};

}  // namespace baton::stage
