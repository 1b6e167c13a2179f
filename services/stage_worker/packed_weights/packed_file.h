// A file of packed weights, mapped: its pages are the page cache's, shared by all who map it, and
// nothing is cleared or copied.
//
// Owner, mode, size, key and the header's checksum are checked by Open, before anything is
// believed; the data by CheckBlock, which the caller does before anybody uses it. Nobody writes to
// a file that has its name (packed_writer.h), and removing it leaves the mapping whole. Whoever
// truncates it in place all the same, or a disk that fails, ends the process at the next page that
// is not in memory (SIGBUS), as it would with a program's own file.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "services/stage_worker/packed_weights/packed_folder.h"
#include "services/stage_worker/packed_weights/packed_format.h"
#include "services/stage_worker/packed_weights/packed_key.h"
#include "services/stage_worker/weights/weight_places.h"

namespace baton::stage {

class PackedFile final {
 public:
  // The file for the key. Errors name the file: NotFound (none), PermissionDenied, InvalidArgument
  // (not ours to trust), DataLoss (too short, damaged header, another key's or format's),
  // ResourceExhausted (no room to map it).
  static absl::StatusOr<std::shared_ptr<PackedFile>> Open(const PackedFolder& folder,
                                                          const PackedKey& key);
  ~PackedFile();

  // The weights, over the mapping.
  const std::vector<PlacedBytes>& placed() const { return placed_; }
  uint64_t bytes() const { return header_.file_bytes; }
  const std::string& path() const { return path_; }
  // Whether its pages are a cache of a disk: the system may take them away, and counts them as
  // free. Not so on tmpfs.
  bool is_evictable() const { return is_evictable_; }

  // Data in blocks of kBlockBytes.
  size_t num_blocks() const { return block_crcs_.size(); }
  // Reads a block, which is in memory then. DataLoss naming file, block and place if it is not what
  // was written, or cannot be read. Any thread.
  absl::Status CheckBlock(size_t block) const;

 private:
  PackedFile(std::string path, OwnedFile file) : path_(std::move(path)), file_(std::move(file)) {}
  absl::Status ReadHeader(absl::string_view key);
  absl::Status TakeEntries(std::span<const std::byte> header);
  absl::Status Map();
  absl::Status Damaged(absl::string_view what) const;

  const std::string path_;
  const OwnedFile file_;  // held open, and locked as in use
  bool is_evictable_ = true;
  FileHeader header_ = {};
  std::vector<FileEntry> entries_;  // these and pieces_: until they are mapped
  std::vector<FilePiece> pieces_;
  std::vector<uint32_t> block_crcs_;
  std::byte* mapping_ = nullptr;
  std::vector<PlacedBytes> placed_;
};

}  // namespace baton::stage
