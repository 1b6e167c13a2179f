// The folder in which a worker keeps its packed weights: its own, or nobody's.
//
// Whole files end in ".packed", those of a writer in ".tmp". Who uses or writes one holds a lock on
// it (flock); who looks for files to remove, or begins to write, holds one on ".lock", so that two
// writers do not count the same room.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton::stage {

// Closes a file descriptor, and with it the locks that it holds.
class OwnedFile {
 public:
  explicit OwnedFile(int descriptor = -1) : descriptor_(descriptor) {}
  OwnedFile(OwnedFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  OwnedFile& operator=(OwnedFile&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~OwnedFile();
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// "`what`: <the system's words for `error`>". NotFound, PermissionDenied, ResourceExhausted (the
// disk, a quota or the greatest size of a file), InvalidArgument (a link, no folder) or
// Unavailable.
absl::Status FileError(absl::string_view what, int error);

// Any thread.
class PackedFolder {
 public:
  // Opens it; makes it, for this user alone, if only its last part is missing. It may be a link;
  // what it leads to is looked at. Errors: NotFound, PermissionDenied (another's, or one that
  // others may write to), InvalidArgument (no folder).
  static absl::StatusOr<PackedFolder> Open(const std::string& path);

  // A file that may be read and mapped: regular, of this user, written to by nobody else; not a
  // link. Locked as in use; waits for who looks whether it may go. Errors: NotFound (also: removed
  // meanwhile), PermissionDenied, InvalidArgument.
  absl::StatusOr<OwnedFile> OpenFile(const std::string& name) const;
  // Marks it as used just now, so that others go before it.
  void Touch(const OwnedFile& file) const;
  // OK if there is none. Errors: as FileError.
  absl::Status Remove(const std::string& name) const;

  struct NewFile {
    std::string name;        // that it will have
    uint64_t bytes = 0;      // of it
    uint64_t max_bytes = 0;  // as RoomLimits of packed_room.h
  };
  // A file that has its room, for a writer alone, locked as in use; its name ends in ".tmp".
  struct TemporaryFile {
    OwnedFile file;
    std::string name;
  };
  // Begins a file: removes what writers that died have left, then as few of the files that nobody
  // uses as make room for it (ChooseRemovals), and takes the room. Errors: AlreadyExists (somebody
  // writes a file of this name) and ResourceExhausted with the figures, for neither of which a
  // whole file goes; the file system's.
  absl::StatusOr<TemporaryFile> Begin(const NewFile& wanted) const;
  // Gives a complete file its name, in place of what had it, when its bytes are on the disk.
  absl::Status Publish(const TemporaryFile& file, const std::string& name) const;

  // Removes what writers that died have left.
  void RemoveLeftovers() const;
  // Removes the whole files, but `kept`, whose names begin with `prefix` and that nobody uses.
  void RemoveUnused(absl::string_view prefix, absl::string_view kept) const;

  const std::string& path() const { return path_; }

 private:
  PackedFolder(std::string path, OwnedFile folder)
      : path_(std::move(path)), folder_(std::move(folder)) {}
  std::string PathOf(absl::string_view name) const;
  // Waits for whoever has it.
  absl::StatusOr<OwnedFile> Lock() const;
  struct LiveFiles;
  // With the lock. Removes what writers that died have left; what the others have.
  LiveFiles SweepTemporaries() const;
  absl::Status MakeRoom(const NewFile& wanted, const LiveFiles& live) const;
  absl::StatusOr<TemporaryFile> Reserve(const NewFile& wanted) const;

  std::string path_;
  OwnedFile folder_;
};

}  // namespace baton::stage
