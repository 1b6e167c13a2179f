// model.safetensors.index.json: which file holds which tensor.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton::loader {

inline constexpr absl::string_view kIndexFileName = "model.safetensors.index.json";
inline constexpr absl::string_view kSingleFileName = "model.safetensors";
inline constexpr size_t kMaxIndexBytes = 256 << 20;

struct IndexEntry {
  std::string tensor;
  std::string file;
};

// The entries of "weight_map", in the file's order. Errors: InvalidArgument (no JSON object, no
// weight_map, a tensor twice, a file that is not a plain name ending in ".safetensors").
absl::StatusOr<std::vector<IndexEntry>> ParseCheckpointIndex(absl::string_view json);

}  // namespace baton::loader
