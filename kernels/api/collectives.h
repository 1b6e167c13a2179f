// Sums and gathers over the tensor-parallel ranks of a stage.
#pragma once

#include <cstdint>
#include <span>

#include "common/tensor/tensor_view.h"

namespace baton::kernels {

// One device's end of a team of devices that hold ranks 0..N-1 between them. A device may hold
// several ranks: it computes their parts one after the other and passes them together. All devices
// of a team make the same calls in the same order. Sums are in float32, in rank order 0..N-1,
// whatever device holds which rank: the bits do not depend on that. Threads: one caller per
// instance, its device's thread. Calls return when `out` may be read, and the inputs may be
// overwritten, by that device's next kernel: no other device is still reading them.
class Collectives {
 public:
  virtual ~Collectives() = default;

  // out = sum over ranks of their partial. Shapes: each [rows, columns] float32, one per local rank
  // in rank order; out the same, float32, the same bits on every device. `out` may not overlap a
  // partial.
  virtual void AllReduceSum(std::span<const TensorView> local_partials, TensorView out) = 0;

  // out[:, r * columns : (r+1) * columns] = rank r's shard. Shapes: each [rows, columns], one per
  // local rank; out [rows, N * columns]; float32 or the compute type.
  virtual void AllGatherColumns(std::span<const TensorView> local_shards, TensorView out) = 0;

  // Bytes of the device's memory that this end holds.
  virtual uint64_t working_bytes() const = 0;
};

}  // namespace baton::kernels
