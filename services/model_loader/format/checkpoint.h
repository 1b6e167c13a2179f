// A whole checkpoint: every tensor's place, type and shape, proven against the files, the index and
// the model's inventory before anyone allocates anything.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/model/model_config.h"
#include "common/model/weight_inventory.h"
#include "services/model_loader/source/checkpoint_folder.h"
#include "services/model_loader/source/range_reader.h"

namespace baton::loader {

struct StoredTensor {
  std::string name;
  std::string type;  // as written: "F8_E4M3"
  std::vector<uint64_t> shape;
  size_t file = 0;
  uint64_t begin = 0;  // in the file
  uint64_t bytes = 0;
};

class Checkpoint final {
 public:
  // Opens the files that the index names (or the single file), reads and checks their headers
  // through a reader of `options`. Errors name file and tensor: NotFound, InvalidArgument,
  // DataLoss, DeadlineExceeded.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const FolderOptions& folder,
                                                          const RangeReaderOptions& options);

  // nullptr if there is none of this name.
  const StoredTensor* Find(absl::string_view name) const;
  // By file, then by offset.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  uint64_t total_bytes() const { return total_bytes_; }
  // Hex SHA-256 of each file's name, size, time of change (ns) and header, and of the first 4 KiB
  // of tensors: of all, or of 2048 spread evenly over them. It tells checkpoints apart without
  // reading them, for 8 MiB in small reads at most. What it does not see: a change further inside a
  // tensor, or of one that is passed over, that leaves size and time as they were.
  std::string Fingerprint() const;
  const CheckpointFolder& folder() const { return *folder_; }
  // Number of the first data byte of a file.
  uint64_t data_begin(size_t file) const { return data_begin_[file]; }

 private:
  explicit Checkpoint(std::unique_ptr<CheckpointFolder> folder) : folder_(std::move(folder)) {}
  absl::Status AddFiles(RangeReader& reader);
  absl::Status ReadIndex(RangeReader& reader);
  absl::Status AddHeader(RangeReader& reader, size_t file);
  absl::Status AgreeWithIndex() const;
  absl::Status TakeSamples(RangeReader& reader);

  std::unique_ptr<CheckpointFolder> folder_;
  absl::flat_hash_map<std::string, size_t> file_of_;  // as the index says; empty without index
  std::vector<StoredTensor> tensors_;
  std::vector<uint64_t> data_begin_;
  absl::flat_hash_map<absl::string_view, size_t> by_name_;  // keys borrow from tensors_
  uint64_t total_bytes_ = 0;
  std::string versions_;  // what the fingerprint is of
};

// InvalidArgument naming the first tensor that `config` wants and the checkpoint lacks or holds
// with another type or shape, or that the checkpoint has beyond what the model wants.
absl::Status CheckAgainstInventory(const Checkpoint& checkpoint, const ModelConfig& config);

}  // namespace baton::loader
