// Receives one device's weight slices as bytes and turns them into StageWeights.
//
// How the loading client uses it, for each device of the stage:
//
//   for (size_t i = 0; i < store.slices().size(); ++i) ask the loader for store.slices()[i];
//   ... when bytes of slice i arrive (any order, any number of pieces):
//   ASSIGN_OR_RETURN(std::span<std::byte> bytes, store.Destination(i));  // the same span each time
//   ... copy or receive into `bytes`, check checksums, and once all of slice i is there:
//   RETURN_IF_ERROR(store.MarkComplete(i));  // packs and frees what is complete
//   ... after the last one:
//   RETURN_IF_ERROR(store.Finish());
//
// Raw bytes live from the first Destination of a slice until its tensor (values and scales) is
// packed, so memory stays near the packed size when slices arrive in order; then their memory
// receives other slices. The tables of the vocabulary, which are the largest tensors by far, come
// in bands of rows, each a slice that is packed by itself, where the device packs bands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/model/model_config.h"
#include "common/model/weight_inventory.h"
#include "common/tensor/aligned_buffer.h"
#include "common/tensor/data_type.h"
#include "kernels/api/ops.h"
#include "services/stage_worker/weights/receive_buffers.h"
#include "services/stage_worker/weights/stage_weights.h"
#include "services/stage_worker/weights/weight_builder.h"
#include "services/stage_worker/weights/weight_store_options.h"

namespace baton::stage {

// A rectangle of a checkpoint's tensor that this device needs.
struct NeededSlice {
  WeightSpec spec;
  WeightSlice slice;
  int local_rank = 0;  // of this device's ranks, from 0; 0 for replicated tensors (asked for once)
  // Where the slice's rows stand among the rank's, and how many it has: not the slice's for a band.
  int64_t first_row = 0;
  int64_t shard_rows = 0;

  // Bytes as they travel: the rectangle row by row, dense, in spec.type.
  size_t bytes() const { return static_cast<size_t>(slice.num_elements()) * SizeOf(spec.type); }
};

class WeightStore final {
 public:
  // `ops` is the device's and must outlive the store. Allocates no weight memory yet. Errors:
  // InvalidArgument (ranks that do not divide the model).
  static absl::StatusOr<std::unique_ptr<WeightStore>> Create(const WeightStoreOptions& options,
                                                             kernels::Ops* ops);

  // In the order in which it is best to ask for them: a weight's scales stand next to it.
  const std::vector<NeededSlice>& slices() const { return slices_; }
  // Sum of all slices' bytes: the raw size of this device's weights.
  uint64_t total_bytes() const { return total_bytes_; }

  // The writable bytes of a slice, allocated at the first call, bytes() long. Errors: OutOfRange
  // (no such slice), FailedPrecondition (already complete).
  absl::StatusOr<std::span<std::byte>> Destination(size_t slice_index);

  // All bytes of the slice are in place. Packs the tensor once its scales are there too. Errors: as
  // Destination; DataLoss naming the tensor if a scale is not a positive finite number.
  absl::Status MarkComplete(size_t slice_index);

  // Whether MarkComplete has taken the slice.
  bool is_complete(size_t slice_index) const { return receptions_[slice_index].complete; }

  // FailedPrecondition naming the first slice that is missing. Afterwards weights() may be read by
  // any thread.
  absl::Status Finish() const;

  // Instead of receiving: takes up what ExportPlaced gave of a store with the same options, in this
  // process or another. Afterwards all slices are complete. Errors, with nothing changed:
  // FailedPrecondition (slices have come already), and as WeightBuilder::Adopt.
  absl::Status Adopt(std::span<const PlacedBytes> placed, const std::shared_ptr<const void>& owner);
  // After Finish. Any thread; the bytes live as long as the store. Internal: as
  // WeightBuilder::Export.
  absl::StatusOr<std::vector<PlacedBytes>> ExportPlaced() const { return builder_.Export(); }
  // Digest of what ExportPlaced gives and Adopt takes, in which order; see DigestOf.
  std::string places_digest() const { return DigestOf(builder_.Places()); }
  // The device's; see Ops::packing.
  const std::string& packing() const { return packing_; }
  const WeightStoreOptions& options() const { return options_; }

  uint64_t received_bytes() const { return received_bytes_; }
  // Memory of packed weights, norms and tables so far.
  uint64_t resident_bytes() const { return builder_.resident_bytes(); }
  const StageWeights& weights() const { return builder_.weights(); }

  // Threads: one caller at a time, standing in for the device's thread until the device runs steps;
  // but Destination of one slice may run at the same time as MarkComplete of another (bytes arrive
  // while others are packed): they have only buffers_ in common. Stores of different devices are
  // independent.

 private:
  // State of one slice's bytes.
  struct Reception {
    AlignedBuffer bytes;
    bool complete = false;
    size_t partner = 0;  // slice of the scales of these values, or of their values; own if none
  };

  WeightStore(const WeightStoreOptions& options, kernels::Ops* ops);
  void AddSlices(const WeightStoreOptions& options, const WeightSpec& spec);
  void AddShard(const WeightSpec& spec, const WeightSlice& shard, int local_rank);
  absl::Status PairScales();
  absl::Status CheckOpen(size_t slice_index) const;
  absl::Status Install(size_t values_index);

  const WeightStoreOptions options_;
  const std::string packing_;
  std::vector<NeededSlice> slices_;
  std::vector<Reception> receptions_;
  uint64_t total_bytes_ = 0;
  uint64_t received_bytes_ = 0;
  ReceiveBuffers buffers_;
  WeightBuilder builder_;
};

}  // namespace baton::stage
