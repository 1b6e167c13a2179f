// Turns received tensors into packed weights and puts each in its place of StageWeights.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/model/weight_inventory.h"
#include "kernels/api/ops.h"
#include "services/stage_worker/weights/stage_weights.h"
#include "services/stage_worker/weights/weight_places.h"
#include "services/stage_worker/weights/weight_store_options.h"

namespace baton::stage {

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

  // In the order of PlacesOf. Any thread, as long as nobody installs or adopts.
  std::vector<NamedPlace> Places() const;
  // What fills each place, in the same order; when all is installed. Of devices whose packing() is
  // not empty, as Adopt. Any thread then. Internal: the bytes are not all that is held.
  absl::StatusOr<std::vector<PlacedBytes>> Export() const;
  // Fills the places with what Export gave of the same model, stage and ranks; the bytes are read
  // in place from then on, and `owner` is kept. Instead of Install. Errors, with nothing changed:
  // InvalidArgument naming the weight (another number, kind, shape or type than the place is for,
  // or what Ops::Adopt refuses). Else what the bytes hold is not looked at.
  absl::Status Adopt(std::span<const PlacedBytes> placed, const std::shared_ptr<const void>& owner);

  const StageWeights& weights() const { return weights_; }
  // Memory of what was installed or adopted.
  uint64_t resident_bytes() const { return resident_bytes_; }

 private:
  struct AdoptedPlace;

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
  absl::Status AdoptOne(const NamedPlace& place, const PlacedBytes& from,
                        const std::shared_ptr<const void>& owner, AdoptedPlace& adopted) const;
  PackedPtr Pack(const kernels::WeightMatrix& matrix);
  absl::StatusOr<void*> CopyToDevice(const void* bytes, size_t num_bytes);
  absl::StatusOr<void*> Allocate(size_t num_bytes);

  const WeightStoreOptions options_;
  kernels::Ops* const ops_;
  std::shared_ptr<const void> adopted_owner_;  // of the tables' bytes; before the weights
  StageWeights weights_;
  uint64_t resident_bytes_ = 0;
  std::vector<std::unique_ptr<kernels::DeviceBuffer>> buffers_;  // what the TensorViews name
};

}  // namespace baton::stage
