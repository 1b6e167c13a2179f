// Files of one folder, opened once and read by position. Never mapped: a file that is truncated
// while it is read must be an error, not a signal.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "services/model_loader/source/byte_source.h"

namespace baton::loader {

// Closes a file descriptor.
class FileHandle {
 public:
  explicit FileHandle(int descriptor = -1) : descriptor_(descriptor) {}
  FileHandle(FileHandle&& other) noexcept;
  FileHandle& operator=(FileHandle&& other) noexcept;
  ~FileHandle();
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

struct FolderOptions {
  std::string path;
  // Accept symbolic links, even to files outside of the folder (Hugging Face's cache is made of
  // them). Otherwise only regular files of the folder itself are read.
  bool follow_links = false;
};

class CheckpointFolder final : public ByteSource {
 public:
  // Errors: NotFound (no such folder), InvalidArgument (not a folder).
  static absl::StatusOr<std::unique_ptr<CheckpointFolder>> Open(FolderOptions options);

  // Opens a file and returns its number; the same name twice gives the same number. Not while
  // other threads use this object. Errors: InvalidArgument (not a plain file name; not a regular
  // file; a link), NotFound.
  absl::StatusOr<size_t> AddFile(const std::string& file_name);
  // Whether the folder has an entry of this name.
  bool Contains(const std::string& file_name) const;
  // Names of the regular files in the folder, sorted.
  absl::StatusOr<std::vector<std::string>> ListFiles() const;
  const std::string& path() const { return options_.path; }

  size_t num_files() const override { return files_.size(); }
  const std::string& name(size_t file) const override { return files_[file].name; }
  uint64_t size(size_t file) const override { return files_[file].size; }
  absl::StatusOr<size_t> ReadAt(size_t file, uint64_t offset,
                                std::span<std::byte> out) const override;
  absl::StatusOr<size_t> ReadAt(size_t file, uint64_t offset,
                                std::span<const std::span<std::byte>> pieces) const override;
  absl::Status CheckUnchanged(size_t file) const override;
  // Size and time of a file's last change, in ns, as it was opened: what is written into it changes
  // them, unless times stand still (squashfs, stores of packages) or are put back.
  std::string VersionOf(size_t file) const;

  // Share of the opened files' bytes, 0 to 1, that this machine's page cache holds, judged by
  // `num_samples` places spread evenly. Waits for no storage; what is missing at these places, a
  // page each, may be read afterwards. Not while other threads read. Unimplemented if the storage
  // cannot tell.
  absl::StatusOr<double> CachedShare(int num_samples) const;

 private:
  struct OpenFile {
    std::string name;
    FileHandle handle;
    uint64_t size = 0;
    timespec modified = {};
  };

  CheckpointFolder(FolderOptions options, FileHandle folder)
      : options_(std::move(options)), folder_(std::move(folder)) {}

  const FolderOptions options_;
  FileHandle folder_;
  std::vector<OpenFile> files_;
};

// InvalidArgument unless `file_name` is one path component: no '/', no NUL, not empty, "." or "..",
// at most 255 bytes.
absl::Status CheckPlainFileName(absl::string_view file_name);

}  // namespace baton::loader
