#include "services/stage_worker/clients/weight_reception.h"

#include <utility>

#include "common/concurrency/steady_mutex.h"
#include "common/log/check.h"
#include "common/status/status_macros.h"

namespace baton::stage {

WeightReception::WeightReception(WeightStore* store, ChunkReceiver* receiver)
    : store_(store), receiver_(receiver), arrived_(store->slices().size()) {
  const std::vector<NeededSlice>& slices = store->slices();
  const SteadyMutexLock lock(&mutex_);
  for (size_t i = 0; i < slices.size(); ++i) {
    // An earlier load may have been cut off.
    packed_.push_back(store->is_complete(i));
    if (packed_.back()) arrived_bytes_ += slices[i].bytes();
    if (i == 0 || slices[i].spec.name != slices[i - 1].spec.name) {
      ++num_tensors_;
      tensor_sizes_.push_back(0);
    }
    ++tensor_sizes_.back();
    tensor_of_slice_.push_back(num_tensors_ - 1);
  }
  packer_ = std::thread([this] { Pack(); });
}

WeightReception::~WeightReception() {
  End();
  arrived_.Close();
  packer_.join();
}

std::vector<size_t> WeightReception::MissingSlices(size_t first_tensor, size_t last_tensor) const {
  std::vector<size_t> missing;
  const SteadyMutexLock lock(&mutex_);
  for (size_t i = 0; i < packed_.size(); ++i) {
    if (packed_[i] || tensor_of_slice_[i] < first_tensor || tensor_of_slice_[i] >= last_tensor) {
      continue;
    }
    missing.push_back(i);
  }
  return missing;
}

absl::Status WeightReception::Begin(uint64_t transfer_id, std::vector<size_t> slices,
                                    size_t max_chunk_bytes) {
  BATON_CHECK(slices_.empty()) << "a transfer is under way";
  TransferOptions options;
  options.transfer_id = transfer_id;
  for (const size_t index : slices) options.slice_bytes.push_back(store_->slices()[index].bytes());
  options.max_chunk_bytes = max_chunk_bytes;
  options.sink = this;
  transfer_id_ = transfer_id;
  slices_ = std::move(slices);
  {
    const SteadyMutexLock lock(&mutex_);
    num_unpacked_ = slices_.size();
    error_ = absl::OkStatus();
  }
  const absl::Status begun = receiver_->BeginTransfer(std::move(options));
  if (!begun.ok()) slices_.clear();
  return begun;
}

absl::Status WeightReception::Wait(absl::Time deadline) {
  if (slices_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(receiver_->WaitComplete(transfer_id_, deadline));
  const SteadyMutexLock lock(&mutex_);
  const auto settled = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return num_unpacked_ == 0 || !error_.ok();
  };
  if (!mutex_.AwaitWithDeadline(absl::Condition(&settled), deadline)) {
    return absl::DeadlineExceededError("packing the weights takes too long");
  }
  return error_;
}

void WeightReception::End() {
  if (slices_.empty()) return;
  receiver_->EndTransfer(transfer_id_);
  {
    // The packer still reads slices_ for what has arrived.
    const SteadyMutexLock lock(&mutex_);
    const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return num_arrived_ == 0; };
    mutex_.Await(absl::Condition(&idle));
  }
  slices_.clear();
}

absl::Status WeightReception::failure() const {
  if (slices_.empty()) return absl::OkStatus();
  const absl::Status status = receiver_->WaitComplete(transfer_id_, absl::InfinitePast());
  return absl::IsDeadlineExceeded(status) ? absl::OkStatus() : status;
}

absl::StatusOr<std::span<std::byte>> WeightReception::Destination(size_t slice_index) {
  return store_->Destination(slices_[slice_index]);
}

void WeightReception::SliceArrived(size_t slice_index) {
  arrived_bytes_ += store_->slices()[slices_[slice_index]].bytes();
  {
    const SteadyMutexLock lock(&mutex_);
    ++num_arrived_;
  }
  BATON_CHECK(arrived_.TryPush(slice_index)) << "the queue holds every slice";
}

void WeightReception::Pack() {
  while (std::optional<size_t> next = arrived_.Pop(absl::InfiniteFuture())) {
    const size_t index = slices_[*next];
    const absl::Status packed = store_->MarkComplete(index);
    receiver_->ReleaseSlice(transfer_id_, *next);
    const SteadyMutexLock lock(&mutex_);
    --num_arrived_;
    --num_unpacked_;
    packed_[index] = packed.ok();
    if (error_.ok()) error_ = packed;
  }
}

}  // namespace baton::stage
