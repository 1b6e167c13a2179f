// The seam between the arithmetic of a stage and what carries hidden states between stages.
//
// The residual stream behind a stage's last layer is [tokens, hidden] in the compute type, the same
// on every device. It travels cut into N slices, N being the number of tensor-parallel ranks: rank
// r's slice is columns [r * hidden/N, (r+1) * hidden/N), dense, row after row. Rank r of one stage
// sends it to rank r of the next; there the slices are put together again, bit for bit.
//
// Both interfaces are called by device threads: one call at a time for a given rank, calls for
// ranks of different devices at the same time. The memory that they lend belongs to the transport
// (registered, preallocated, max_step_tokens rows long) and must be readable, or writable, by the
// kernels of the rank's device.
//
// An implementation ends waits early with Cancelled once its owner has asked it to (epoch change,
// shutdown): StageExecutor::BeginEpoch and Stop wait for steps under way.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/tensor/tensor_view.h"

namespace baton::stage {

// Names one rank's slice of one step.
struct HiddenStateKey {
  uint64_t epoch = 0;
  uint64_t step_id = 0;
  int rank = 0;
};

// Where a stage takes the previous stage's hidden states from.
class HiddenStateSource {
 public:
  virtual ~HiddenStateSource() = default;

  // Waits for a slice: [num_tokens, hidden/N], dense. The view holds until Release of the same key.
  // Steps are asked for in the order of step_id. Errors: DeadlineExceeded, Cancelled, DataLoss
  // (wrong length or checksum), Unavailable (the previous stage is gone); then there is nothing to
  // release.
  virtual absl::StatusOr<TensorView> Receive(const HiddenStateKey& key, int64_t num_tokens,
                                             absl::Time deadline) = 0;

  // The slice has been read; its slot may take a later step (and a credit may go back).
  virtual void Release(const HiddenStateKey& key) = 0;
};

// Where a stage puts its hidden states for the next stage.
class HiddenStateSink {
 public:
  virtual ~HiddenStateSink() = default;

  // Waits for a free slot and a credit of the next stage: a dense view [num_tokens, hidden/N] to be
  // filled. It holds until Send of the same key. Errors: DeadlineExceeded, Cancelled, Unavailable.
  virtual absl::StatusOr<TensorView> Acquire(const HiddenStateKey& key, int64_t num_tokens,
                                             absl::Time deadline) = 0;

  // Hands the filled slot to the transport and returns without waiting for the wire. Errors:
  // Cancelled, Unavailable.
  virtual absl::Status Send(const HiddenStateKey& key) = 0;
};

}  // namespace baton::stage
