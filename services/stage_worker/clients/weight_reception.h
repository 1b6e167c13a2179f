// Takes one device's weight slices from UCX into its WeightStore and packs them as they arrive.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "common/concurrency/bounded_queue.h"
#include "common/concurrency/steady_mutex.h"
#include "common/transport/chunk_receiver.h"
#include "services/stage_worker/weights/weight_store.h"

namespace baton::stage {

// Threads: Begin, End, Wait from the loading thread; the sink's methods from the transport's; one
// thread of its own packs. Destination of one slice and MarkComplete of another touch nothing in
// common (weight_store.h).
class WeightReception final : private SliceSink {
 public:
  // Both must outlive the reception. What the store has already is not asked for again.
  WeightReception(WeightStore* store, ChunkReceiver* receiver);
  // Ends the transfer under way.
  ~WeightReception() override;

  // Indices of the store's slices that are not packed yet and whose tensor is one of [first, last)
  // in the store's order of tensors.
  std::vector<size_t> MissingSlices(size_t first_tensor, size_t last_tensor) const;
  size_t num_tensors() const { return num_tensors_; }
  // Slices of one tensor; for choosing how much to ask for at a time.
  size_t num_slices_of(size_t tensor) const { return tensor_sizes_[tensor]; }

  // Opens a transfer for these slices. Errors: as ChunkReceiver::BeginTransfer.
  absl::Status Begin(uint64_t transfer_id, std::vector<size_t> slices, size_t max_chunk_bytes);
  // Waits until all of them are packed. Errors: the transfer's, or packing's.
  absl::Status Wait(absl::Time deadline);
  // Closes the transfer; what has arrived stays. Waits for the packing of that, which waits for
  // nobody.
  void End();
  // Why the transfer under way has failed; OK if it has not, or there is none.
  absl::Status failure() const;

  // Bytes of slices that have arrived, over all transfers. Any thread.
  uint64_t arrived_bytes() const { return arrived_bytes_.load(); }

 private:
  absl::StatusOr<std::span<std::byte>> Destination(size_t slice_index) override;
  void SliceArrived(size_t slice_index) override;
  void Pack();

  WeightStore* const store_;
  ChunkReceiver* const receiver_;
  std::vector<size_t> tensor_of_slice_;
  std::vector<size_t> tensor_sizes_;
  size_t num_tensors_ = 0;
  std::atomic<uint64_t> arrived_bytes_{0};

  // Of the transfer under way; written while none is.
  uint64_t transfer_id_ = 0;
  std::vector<size_t> slices_;

  mutable SteadyMutex mutex_;
  std::vector<bool> packed_ ABSL_GUARDED_BY(mutex_);  // by slice of the store
  size_t num_unpacked_ ABSL_GUARDED_BY(mutex_) = 0;   // of the transfer under way
  size_t num_arrived_ ABSL_GUARDED_BY(mutex_) = 0;    // and not packed yet
  absl::Status error_ ABSL_GUARDED_BY(mutex_);

  BoundedQueue<size_t> arrived_;  // indices into slices_
  std::thread packer_;
};

}  // namespace baton::stage
