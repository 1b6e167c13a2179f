#include "services/stage_worker/packed_weights/packed_folder.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <random>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "services/stage_worker/packed_weights/packed_room.h"

namespace baton::stage {
namespace {

constexpr absl::string_view kPacked = ".packed";
constexpr absl::string_view kTemporary = ".tmp";
constexpr char kLockName[] = ".lock";

absl::Status CheckOwn(const std::string& path, const struct stat& attributes) {
  if (attributes.st_uid != geteuid()) {
    return absl::PermissionDeniedError(
        absl::StrCat(path, " belongs to user ", attributes.st_uid, ", not to ", geteuid()));
  }
  if ((attributes.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::PermissionDeniedError(absl::StrCat(path, " may be written to by other users"));
  }
  return absl::OkStatus();
}

// Waits for the lock. File systems that have none give none.
void AwaitLock(const OwnedFile& file, int kind) {
  while (flock(file.get(), kind) != 0 && errno == EINTR) continue;
}

// The file, locked against everybody; none if somebody uses it, or it cannot be opened. Opened for
// writing, for without that NFS refuses such a lock.
OwnedFile LockAlone(int folder, const std::string& name) {
  OwnedFile file(openat(folder, name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  const bool is_used =
      file.get() >= 0 && flock(file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  return is_used ? OwnedFile() : std::move(file);
}

struct FoundFile {
  std::string name;
  uint64_t bytes = 0;
  uint64_t disk_bytes = 0;
  timespec used = {};
};

// Least lately used first.
std::vector<FoundFile> ListFiles(int folder, absl::string_view ending) {
  std::vector<FoundFile> files;
  // The stream closes its descriptor, and begins where that stands.
  const int descriptor = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* stream = descriptor < 0 ? nullptr : fdopendir(descriptor);
  if (stream == nullptr) {
    if (descriptor >= 0) close(descriptor);
    return files;
  }
  while (const dirent* entry = readdir(stream)) {
    struct stat attributes = {};
    if (!absl::EndsWith(entry->d_name, ending) ||
        fstatat(folder, entry->d_name, &attributes, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(attributes.st_mode)) {
      continue;
    }
    files.push_back({entry->d_name, static_cast<uint64_t>(attributes.st_size),
                     static_cast<uint64_t>(attributes.st_blocks) * 512, attributes.st_mtim});
  }
  closedir(stream);
  std::sort(files.begin(), files.end(), [](const FoundFile& a, const FoundFile& b) {
    return std::pair(a.used.tv_sec, a.used.tv_nsec) < std::pair(b.used.tv_sec, b.used.tv_nsec);
  });
  return files;
}

// The file's room on the disk at once, whole or not at all. File systems that cannot do so promise
// it by the file's size.
absl::Status TakeRoom(const OwnedFile& file, const std::string& path, uint64_t bytes) {
  int failed = 0;
  do {
    failed = fallocate(file.get(), 0, 0, static_cast<off_t>(bytes));
  } while (failed != 0 && errno == EINTR);
  if (failed == 0) return absl::OkStatus();
  if (errno != EOPNOTSUPP && errno != ENOSYS) return FileError(path, errno);
  if (ftruncate(file.get(), static_cast<off_t>(bytes)) == 0) return absl::OkStatus();
  return FileError(path, errno);
}

}  // namespace

absl::Status FileError(absl::string_view what, int error) {
  const std::string text = absl::StrCat(what, ": ", std::strerror(error));
  if (error == ENOENT) return absl::NotFoundError(text);
  if (error == EACCES || error == EPERM || error == EROFS) return absl::PermissionDeniedError(text);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return absl::ResourceExhaustedError(text);
  }
  if (error == ELOOP || error == ENOTDIR) return absl::InvalidArgumentError(text);
  return absl::UnavailableError(text);
}

OwnedFile::~OwnedFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

// What others write now.
struct PackedFolder::LiveFiles {
  std::vector<std::string> names;
  uint64_t bytes = 0;           // their sizes
  uint64_t promised_bytes = 0;  // of these, what they have not taken from the disk yet
};

absl::StatusOr<PackedFolder> PackedFolder::Open(const std::string& path) {
  if (mkdir(path.c_str(), S_IRWXU) != 0 && errno != EEXIST) return FileError(path, errno);
  OwnedFile folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat attributes = {};
  if (folder.get() < 0 || fstat(folder.get(), &attributes) != 0) return FileError(path, errno);
  RETURN_IF_ERROR(CheckOwn(path, attributes));
  return PackedFolder(path, std::move(folder));
}

std::string PackedFolder::PathOf(absl::string_view name) const {
  return absl::StrCat(path_, "/", name);
}

absl::StatusOr<OwnedFile> PackedFolder::OpenFile(const std::string& name) const {
  OwnedFile file(
      openat(folder_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return FileError(PathOf(name), errno);
  AwaitLock(file, LOCK_SH);
  struct stat attributes = {};
  if (fstat(file.get(), &attributes) != 0) return FileError(PathOf(name), errno);
  if (!S_ISREG(attributes.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(PathOf(name), " is not a regular file"));
  }
  if (attributes.st_nlink == 0) {
    return absl::NotFoundError(absl::StrCat(PathOf(name), " was removed just now"));
  }
  RETURN_IF_ERROR(CheckOwn(PathOf(name), attributes));
  return file;
}

void PackedFolder::Touch(const OwnedFile& file) const { futimens(file.get(), nullptr); }

absl::Status PackedFolder::Remove(const std::string& name) const {
  if (unlinkat(folder_.get(), name.c_str(), 0) == 0 || errno == ENOENT) return absl::OkStatus();
  return FileError(absl::StrCat("removing ", PathOf(name)), errno);
}

absl::StatusOr<OwnedFile> PackedFolder::Lock() const {
  OwnedFile file(openat(folder_.get(), kLockName,
                        O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, S_IRUSR | S_IWUSR));
  if (file.get() < 0) return FileError(PathOf(kLockName), errno);
  AwaitLock(file, LOCK_EX);
  return file;
}

PackedFolder::LiveFiles PackedFolder::SweepTemporaries() const {
  LiveFiles live;
  for (const FoundFile& file : ListFiles(folder_.get(), kTemporary)) {
    const bool is_dead = LockAlone(folder_.get(), file.name).get() >= 0;
    if (is_dead && Remove(file.name).ok()) continue;
    live.names.push_back(file.name);
    live.bytes += file.bytes;
    live.promised_bytes += file.bytes - std::min(file.bytes, file.disk_bytes);
  }
  return live;
}

absl::Status PackedFolder::MakeRoom(const NewFile& wanted, const LiveFiles& live) const {
  const std::vector<FoundFile> files = ListFiles(folder_.get(), kPacked);
  std::vector<OwnedFile> locks;  // until what goes has gone
  std::vector<KeptFile> kept;
  for (const FoundFile& file : files) {
    locks.push_back(LockAlone(folder_.get(), file.name));
    kept.push_back({file.bytes, file.disk_bytes, locks.back().get() >= 0});
  }
  struct statvfs system = {};
  if (fstatvfs(folder_.get(), &system) != 0) return FileError(path_, errno);
  const uint64_t unit = system.f_frsize;
  const uint64_t free_bytes = static_cast<uint64_t>(system.f_bavail) * unit;
  const absl::StatusOr<std::vector<size_t>> removals =
      ChooseRemovals(wanted.bytes, kept,
                     {.max_bytes = wanted.max_bytes,
                      .written_bytes = live.bytes,
                      .total_bytes = static_cast<uint64_t>(system.f_blocks) * unit,
                      .free_bytes = free_bytes - std::min(free_bytes, live.promised_bytes)});
  if (!removals.ok()) return Annotate(removals.status(), path_);
  for (const size_t index : *removals) {
    RETURN_IF_ERROR(Remove(files[index].name));
    BATON_LOG(INFO) << PathOf(files[index].name) << ", which nobody uses, made room";
  }
  return absl::OkStatus();
}

absl::StatusOr<PackedFolder::TemporaryFile> PackedFolder::Reserve(const NewFile& wanted) const {
  std::random_device random;
  TemporaryFile made;
  made.name = absl::StrCat(wanted.name, ".", absl::Hex(random(), absl::kZeroPad8), kTemporary);
  made.file = OwnedFile(openat(folder_.get(), made.name.c_str(),
                               O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (made.file.get() < 0) return FileError(PathOf(made.name), errno);
  AwaitLock(made.file, LOCK_SH);
  const absl::Status taken = TakeRoom(made.file, PathOf(made.name), wanted.bytes);
  if (taken.ok()) return made;
  if (const absl::Status removed = Remove(made.name); !removed.ok()) {
    BATON_LOG(ERROR) << removed.message();
  }
  return taken;
}

absl::StatusOr<PackedFolder::TemporaryFile> PackedFolder::Begin(const NewFile& wanted) const {
  ASSIGN_OR_RETURN(const OwnedFile lock, Lock());
  const LiveFiles live = SweepTemporaries();
  for (const std::string& name : live.names) {
    if (!absl::StartsWith(name, wanted.name)) continue;
    return absl::AlreadyExistsError(absl::StrCat(PathOf(name), " is being written"));
  }
  RETURN_IF_ERROR(MakeRoom(wanted, live));
  return Reserve(wanted);
}

absl::Status PackedFolder::Publish(const TemporaryFile& file, const std::string& name) const {
  if (fsync(file.file.get()) != 0 ||
      renameat(folder_.get(), file.name.c_str(), folder_.get(), name.c_str()) != 0) {
    return FileError(PathOf(file.name), errno);
  }
  // The file is whole. Without this it may be gone after a power failure, no more.
  fsync(folder_.get());
  return absl::OkStatus();
}

void PackedFolder::RemoveLeftovers() const {
  if (const absl::StatusOr<OwnedFile> lock = Lock(); lock.ok()) SweepTemporaries();
}

void PackedFolder::RemoveUnused(absl::string_view prefix, absl::string_view kept) const {
  const absl::StatusOr<OwnedFile> lock = Lock();
  if (!lock.ok()) return;
  for (const FoundFile& file : ListFiles(folder_.get(), kPacked)) {
    if (!absl::StartsWith(file.name, prefix) || file.name == kept) continue;
    const OwnedFile alone = LockAlone(folder_.get(), file.name);
    if (alone.get() < 0) continue;
    const absl::Status removed = Remove(file.name);
    if (removed.ok())
      BATON_LOG(INFO) << PathOf(file.name) << " was of an earlier start and is gone";
  }
}

}  // namespace baton::stage
