#include "services/stage_worker/clients/weight_loader.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "common/rpc/peer.h"
#include "common/status/status_macros.h"

namespace baton::stage {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(1);
// From the loader's last word, which follows the worker's answers to all chunks, to the packing of
// the last slice.
constexpr absl::Duration kPackingLimit = absl::Minutes(2);

uint64_t RandomTransferId() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

v1::DataType EncodeType(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return v1::DATA_TYPE_FLOAT32;
    case DataType::kBFloat16:
      return v1::DATA_TYPE_BFLOAT16;
    case DataType::kFloat8E4M3:
      return v1::DATA_TYPE_FLOAT8_E4M3;
  }
  return v1::DATA_TYPE_UNSPECIFIED;
}

void EncodeSlice(const NeededSlice& needed, v1::TensorSlice* out) {
  out->set_name(needed.spec.name);
  out->set_data_type(EncodeType(needed.spec.type));
  if (needed.spec.num_dimensions == 2) out->add_shape(static_cast<uint64_t>(needed.spec.rows));
  out->add_shape(static_cast<uint64_t>(needed.spec.columns));
  out->set_row_begin(static_cast<uint64_t>(needed.slice.row_begin));
  out->set_row_end(static_cast<uint64_t>(needed.slice.row_end));
  out->set_column_begin(static_cast<uint64_t>(needed.slice.column_begin));
  out->set_column_end(static_cast<uint64_t>(needed.slice.column_end));
}

}  // namespace

WeightLoader::WeightLoader(WeightLoaderOptions options)
    : options_(std::move(options)), receiver_(ChunkReceiver::Create(options_.transport)) {
  for (WeightStore* store : options_.stores) {
    receptions_.push_back(std::make_unique<WeightReception>(store, receiver_.get()));
    total_bytes_ += store->total_bytes();
  }
}

uint64_t WeightLoader::loaded_bytes() const {
  uint64_t bytes = 0;
  for (const auto& reception : receptions_) bytes += reception->arrived_bytes();
  return std::min(bytes, total_bytes_);
}

void WeightLoader::Cancel() {
  if (!cancelled_.HasBeenNotified()) cancelled_.Notify();
  options_.client->Cancel();
}

absl::Status WeightLoader::Run() {
  absl::Duration pause = kFirstPause;
  for (int attempt = 1;; ++attempt) {
    const absl::Status status = LoadMissing();
    if (status.ok()) break;
    if (cancelled_.HasBeenNotified()) return absl::CancelledError("loading was cancelled");
    if (!absl::IsUnavailable(status) || attempt == options_.max_attempts) return status;
    BATON_LOG(WARNING) << "loading goes on in " << absl::FormatDuration(pause) << " (attempt "
                       << attempt << " of " << options_.max_attempts << "): " << status.message();
    cancelled_.WaitForNotificationWithTimeout(pause);
    pause = std::min(pause * 2, kLongestPause);
  }
  for (WeightStore* store : options_.stores) RETURN_IF_ERROR(store->Finish());
  return absl::OkStatus();
}

size_t WeightLoader::EndOfCall(size_t first) const {
  // All devices need the same tensors in the same order.
  size_t num_slices = 0;
  for (size_t tensor = first; tensor < receptions_[0]->num_tensors(); ++tensor) {
    for (const auto& reception : receptions_) num_slices += reception->num_slices_of(tensor);
    if (num_slices > options_.max_slices_per_call && tensor > first) return tensor;
  }
  return receptions_[0]->num_tensors();
}

absl::Status WeightLoader::LoadMissing() {
  for (size_t first = 0; first < receptions_[0]->num_tensors();) {
    const size_t last = EndOfCall(first);
    RETURN_IF_ERROR(LoadTensors(first, last));
    first = last;
  }
  return absl::OkStatus();
}

absl::Status WeightLoader::BeginTransfers(size_t first, size_t last, v1::LoadRequest* request) {
  *request->mutable_peer() = MakePeerInfo("stage-worker");
  request->set_model_fingerprint(options_.fingerprint);
  request->set_checkpoint_fingerprint(options_.checkpoint_fingerprint);
  request->set_chunk_bytes(options_.chunk_bytes);
  request->set_stage_index(options_.stage_index);
  request->set_stage_bytes(total_bytes_);
  request->set_held_bytes(loaded_bytes());
  for (size_t device = 0; device < receptions_.size(); ++device) {
    std::vector<size_t> missing = receptions_[device]->MissingSlices(first, last);
    if (missing.empty()) continue;
    v1::LoadTarget* target = request->add_targets();
    target->set_ucx_address(options_.transport->address());
    target->set_transfer_id(RandomTransferId());
    for (const size_t slice : missing) {
      EncodeSlice(options_.stores[device]->slices()[slice], target->add_slices());
    }
    RETURN_IF_ERROR(receptions_[device]->Begin(target->transfer_id(), std::move(missing),
                                               options_.chunk_bytes));
  }
  return absl::OkStatus();
}

absl::Status WeightLoader::LoadTensors(size_t first, size_t last) {
  v1::LoadRequest request;
  absl::Status status = BeginTransfers(first, last, &request);
  if (status.ok() && request.targets_size() > 0) {
    status = options_.client->Load(request);
    for (const auto& reception : receptions_) {
      if (status.ok()) status = reception->Wait(SteadyNow() + kPackingLimit);
      // Bytes that were damaged on their way are right when they come again; what the loader itself
      // calls damaged is not.
      const absl::Status failure = reception->failure();
      if (absl::IsDataLoss(failure)) {
        status = absl::UnavailableError(absl::StrCat("damaged on the way: ", failure.message()));
      }
    }
  }
  for (const auto& reception : receptions_) reception->End();
  return status;
}

}  // namespace baton::stage
