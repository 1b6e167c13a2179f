#include "services/model_loader/calls/load_request.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "common/rpc/peer.h"
#include "common/status/status_macros.h"
#include "common/transport/transport.h"

namespace baton::loader {
namespace {

constexpr int kMaxTargets = 1024;
constexpr int kMaxSlices = 1'000'000;
constexpr uint32_t kMinChunkBytes = 64 << 10;
constexpr uint32_t kMaxChunkBytes = 64 << 20;

absl::StatusOr<DataType> ToDataType(v1::DataType type) {
  switch (type) {
    case v1::DATA_TYPE_FLOAT32:
      return DataType::kFloat32;
    case v1::DATA_TYPE_BFLOAT16:
      return DataType::kBFloat16;
    case v1::DATA_TYPE_FLOAT8_E4M3:
      return DataType::kFloat8E4M3;
    default:
      return absl::InvalidArgumentError(absl::StrCat("unknown data_type ", static_cast<int>(type)));
  }
}

absl::StatusOr<CheckedSlice> CheckOne(const ServedModel& model, const v1::TensorSlice& slice) {
  SliceRequest request;
  request.name = slice.name();
  const absl::StatusOr<DataType> type = ToDataType(slice.data_type());
  if (!type.ok()) {
    return Annotate(
        type.status(),
        absl::StrCat("slice of tensor \"", absl::CHexEscape(slice.name().substr(0, 120)), "\""));
  }
  request.type = *type;
  request.shape.assign(slice.shape().begin(), slice.shape().end());
  request.row_begin = slice.row_begin();
  request.row_end = slice.row_end();
  request.column_begin = slice.column_begin();
  request.column_end = slice.column_end();
  return CheckSlice(*model.checkpoint, request);
}

absl::Status CheckTarget(const ServedModel& model, const v1::LoadTarget& target,
                         CheckedLoad& load) {
  if (target.ucx_address().empty() || target.ucx_address().size() > kMaxAddressBytes) {
    return absl::InvalidArgumentError(absl::StrCat("ucx_address has ", target.ucx_address().size(),
                                                   " bytes; wanted 1 to ", kMaxAddressBytes));
  }
  if (target.slices_size() < 1 || target.slices_size() > kMaxSlices) {
    return absl::InvalidArgumentError(
        absl::StrCat("it has ", target.slices_size(), " slices; wanted 1 to ", kMaxSlices));
  }
  std::vector<CheckedSlice> slices;
  slices.reserve(static_cast<size_t>(target.slices_size()));
  for (const v1::TensorSlice& slice : target.slices()) {
    ASSIGN_OR_RETURN(slices.emplace_back(), CheckOne(model, slice));
  }
  load.targets.push_back({target.ucx_address(), target.transfer_id()});
  load.slices.push_back(std::move(slices));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CheckedLoad> CheckLoadRequest(const ServedModel& model,
                                             const v1::LoadRequest& request) {
  RETURN_IF_ERROR(CheckPeer(request.peer(), "model-loader"));
  if (request.model_fingerprint() != model.fingerprint) {
    return absl::FailedPreconditionError(
        absl::StrCat("the worker's model has fingerprint \"",
                     absl::CHexEscape(request.model_fingerprint().substr(0, 64)),
                     "\", this loader's \"", model.fingerprint, "\": their config.json differ"));
  }
  if (!request.checkpoint_fingerprint().empty() &&
      request.checkpoint_fingerprint() != model.checkpoint_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the worker loads the checkpoint with fingerprint \"",
        absl::CHexEscape(request.checkpoint_fingerprint().substr(0, 64)),
        "\", this loader's has \"", model.checkpoint_fingerprint, "\": files have been replaced"));
  }
  if (request.chunk_bytes() < kMinChunkBytes || request.chunk_bytes() > kMaxChunkBytes) {
    return absl::InvalidArgumentError(absl::StrCat("chunk_bytes is ", request.chunk_bytes(),
                                                   "; wanted ", kMinChunkBytes, " to ",
                                                   kMaxChunkBytes));
  }
  if (request.targets_size() < 1 || request.targets_size() > kMaxTargets) {
    return absl::InvalidArgumentError(absl::StrCat("the request has ", request.targets_size(),
                                                   " targets; wanted 1 to ", kMaxTargets));
  }
  CheckedLoad load;
  load.stage_index = request.stage_index();
  load.stage_bytes = request.stage_bytes();
  load.held_bytes = std::min(request.held_bytes(), request.stage_bytes());
  load.chunk_bytes = request.chunk_bytes();
  for (int i = 0; i < request.targets_size(); ++i) {
    RETURN_IF_ERROR(
        Annotate(CheckTarget(model, request.targets(i), load), absl::StrCat("target ", i)));
  }
  return load;
}

}  // namespace baton::loader
