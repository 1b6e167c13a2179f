// The model behind a loader: config and checkpoint, checked against each other.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "common/model/model_config.h"
#include "services/model_loader/format/checkpoint.h"

namespace baton::loader {

struct ServedModel {
  ModelConfig config;
  std::string config_json;
  std::string fingerprint;
  std::string checkpoint_fingerprint;  // hex SHA-256 of it and of the checkpoint's
  std::unique_ptr<Checkpoint> checkpoint;
};

// Errors: as ReadModelConfigText, ParseModelConfig, Checkpoint::Open and CheckAgainstInventory.
absl::StatusOr<ServedModel> OpenServedModel(const FolderOptions& folder,
                                            const RangeReaderOptions& options);

}  // namespace baton::loader
