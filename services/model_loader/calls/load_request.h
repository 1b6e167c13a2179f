// Loading.Load's request, checked field by field against the checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "protos/baton/v1/loading.pb.h"
#include "services/model_loader/format/served_model.h"
#include "services/model_loader/shard/slice_request.h"

namespace baton::loader {

struct CheckedTarget {
  std::string ucx_address;
  uint64_t transfer_id = 0;
};

struct CheckedLoad {
  uint32_t stage_index = 0;
  // Of the whole stage, for who reads logs and metrics. held_bytes <= stage_bytes.
  uint64_t stage_bytes = 0;  // of all its calls; 0: unknown
  uint64_t held_bytes = 0;   // before this call
  uint64_t chunk_bytes = 0;
  std::vector<CheckedTarget> targets;
  std::vector<std::vector<CheckedSlice>> slices;  // per target
};

// Errors: FailedPrecondition (protocol version, fingerprints), InvalidArgument and NotFound as
// CheckSlice, InvalidArgument naming a field out of its range. `model` must outlive the result.
absl::StatusOr<CheckedLoad> CheckLoadRequest(const ServedModel& model,
                                             const v1::LoadRequest& request);

}  // namespace baton::loader
