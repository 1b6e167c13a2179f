#include "services/stage_worker/weights/weight_store.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"

namespace baton::stage {
namespace {

constexpr absl::string_view kScaleSuffix = "_scale_inv";

TensorView ViewOf(const NeededSlice& needed, AlignedBuffer& bytes) {
  return bytes.AsTensor(needed.spec.type, needed.slice.row_end - needed.slice.row_begin,
                        needed.slice.column_end - needed.slice.column_begin);
}

// DataLoss unless all scales are finite and not negative.
absl::Status CheckScales(const NeededSlice& needed, const TensorView& scales) {
  for (int64_t row = 0; row < scales.rows; ++row) {
    for (int64_t column = 0; column < scales.columns; ++column) {
      const float scale = scales.Row<float>(row)[column];
      if (std::isfinite(scale) && scale >= 0.0f) continue;
      return absl::DataLossError(absl::StrCat(needed.spec.name, ": scale of block (", row, ", ",
                                              column, ") of the slice is ", scale));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<WeightStore>> WeightStore::Create(const WeightStoreOptions& options,
                                                                 kernels::Ops* ops) {
  RETURN_IF_ERROR(CheckTensorParallelSize(options.config, options.num_ranks));
  if (options.first_rank < 0 || options.num_local_ranks < 1 ||
      options.first_rank + options.num_local_ranks > options.num_ranks) {
    return absl::InvalidArgumentError(absl::StrCat(
        "ranks ", options.first_rank, " + ", options.num_local_ranks, " of ", options.num_ranks));
  }
  std::unique_ptr<WeightStore> store(new WeightStore(options, ops));
  RETURN_IF_ERROR(store->PairScales());
  return store;
}

WeightStore::WeightStore(const WeightStoreOptions& options, kernels::Ops* ops)
    : options_(options), packing_(ops->packing()), builder_(options, ops) {
  for (const WeightSpec& spec : StageInventory(options.config, options.stage)) {
    AddSlices(options, spec);
  }
  receptions_.resize(slices_.size());
}

void WeightStore::AddSlices(const WeightStoreOptions& options, const WeightSpec& spec) {
  const int copies = spec.axis == ShardAxis::kReplicated ? 1 : options.num_local_ranks;
  for (int local_rank = 0; local_rank < copies; ++local_rank) {
    const WeightSlice slice =
        SliceOfRank(options.config, spec, options.first_rank + local_rank, options.num_ranks);
    AddShard(spec, slice, local_rank);
  }
}

void WeightStore::AddShard(const WeightSpec& spec, const WeightSlice& shard, int local_rank) {
  const int64_t rows = shard.row_end - shard.row_begin;
  const int64_t step = builder_.BandRows(spec);
  int64_t band_rows = rows;
  if (step > 0) {
    const int64_t row_bytes =
        (shard.column_end - shard.column_begin) * static_cast<int64_t>(SizeOf(spec.type));
    const int64_t fitting = static_cast<int64_t>(options_.band_bytes) / row_bytes;
    band_rows = std::max(step, fitting / step * step);
  }
  for (int64_t first = 0; first < rows; first += band_rows) {
    WeightSlice slice = shard;
    slice.row_begin += first;
    slice.row_end = std::min(slice.row_begin + band_rows, shard.row_end);
    slices_.push_back({spec, slice, local_rank, first, rows});
    total_bytes_ += slices_.back().bytes();
  }
}

absl::Status WeightStore::PairScales() {
  absl::flat_hash_map<std::pair<std::string, int>, size_t> index;
  for (size_t i = 0; i < slices_.size(); ++i) {
    index[{slices_[i].spec.name, slices_[i].local_rank}] = i;
    receptions_[i].partner = i;
  }
  for (size_t i = 0; i < slices_.size(); ++i) {
    if (slices_[i].spec.type != DataType::kFloat8E4M3) continue;
    const std::string name = absl::StrCat(slices_[i].spec.name, kScaleSuffix);
    const auto scale = index.find({name, slices_[i].local_rank});
    if (scale == index.end()) {
      return absl::InvalidArgumentError(absl::StrCat(slices_[i].spec.name, " has no scales"));
    }
    receptions_[i].partner = scale->second;
    receptions_[scale->second].partner = i;
  }
  return absl::OkStatus();
}

absl::Status WeightStore::CheckOpen(size_t slice_index) const {
  if (slice_index >= slices_.size()) {
    return absl::OutOfRangeError(absl::StrCat("slice ", slice_index, " of ", slices_.size()));
  }
  if (receptions_[slice_index].complete) {
    return absl::FailedPreconditionError(
        absl::StrCat(slices_[slice_index].spec.name, " (slice ", slice_index, ") is complete"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::span<std::byte>> WeightStore::Destination(size_t slice_index) {
  RETURN_IF_ERROR(CheckOpen(slice_index));
  Reception& reception = receptions_[slice_index];
  const size_t bytes = slices_[slice_index].bytes();
  if (reception.bytes.size() == 0) reception.bytes = buffers_.Take(bytes);
  return reception.bytes.span().first(bytes);
}

absl::Status WeightStore::MarkComplete(size_t slice_index) {
  RETURN_IF_ERROR(CheckOpen(slice_index));
  Reception& reception = receptions_[slice_index];
  const NeededSlice& needed = slices_[slice_index];
  if (reception.bytes.size() == 0) {
    return absl::FailedPreconditionError(absl::StrCat(needed.spec.name, " received no bytes"));
  }
  const bool is_scale = needed.spec.scaled_rows > 0;
  if (is_scale) RETURN_IF_ERROR(CheckScales(needed, ViewOf(needed, reception.bytes)));
  reception.complete = true;
  received_bytes_ += needed.bytes();
  if (!receptions_[reception.partner].complete) return absl::OkStatus();
  absl::Status installed = Install(is_scale ? reception.partner : slice_index);
  if (received_bytes_ == total_bytes_) buffers_.Clear();
  if (installed.ok()) return installed;
  // Both must come again: Install has dropped their bytes.
  for (const size_t lost : std::set<size_t>{slice_index, reception.partner}) {
    receptions_[lost].complete = false;
    received_bytes_ -= slices_[lost].bytes();
  }
  return installed;
}

absl::Status WeightStore::Install(size_t values_index) {
  const NeededSlice& needed = slices_[values_index];
  Reception& values = receptions_[values_index];
  Reception& scales = receptions_[values.partner];
  const int64_t block_size = options_.config.fp8_block_size;
  ReceivedTensor tensor{&needed.spec, needed.local_rank, {}, needed.first_row, needed.shard_rows};
  tensor.matrix.values = ViewOf(needed, values.bytes);
  if (values.partner != values_index) {
    tensor.matrix.scales = ViewOf(slices_[values.partner], scales.bytes);
    tensor.matrix.block_size = block_size;
    tensor.matrix.row_offset = needed.slice.row_begin % block_size;
    tensor.matrix.column_offset = needed.slice.column_begin % block_size;
  }
  absl::Status installed = builder_.Install(tensor);
  buffers_.Give(std::exchange(values.bytes, AlignedBuffer()));
  buffers_.Give(std::exchange(scales.bytes, AlignedBuffer()));
  return installed;
}

absl::Status WeightStore::Adopt(std::span<const PlacedBytes> placed,
                                const std::shared_ptr<const void>& owner) {
  if (received_bytes_ > 0) {
    return absl::FailedPreconditionError(absl::StrCat(received_bytes_, " bytes have come already"));
  }
  RETURN_IF_ERROR(builder_.Adopt(placed, owner));
  for (Reception& reception : receptions_) reception.complete = true;
  received_bytes_ = total_bytes_;
  return absl::OkStatus();
}

absl::Status WeightStore::Finish() const {
  for (size_t i = 0; i < slices_.size(); ++i) {
    if (receptions_[i].complete) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(slices_[i].spec.name, " (slice ", i, ") was not received"));
  }
  return absl::OkStatus();
}

}  // namespace baton::stage
