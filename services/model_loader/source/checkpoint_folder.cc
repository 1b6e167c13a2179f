#include "services/model_loader/source/checkpoint_folder.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "common/status/status_macros.h"

namespace baton::loader {
namespace {

constexpr size_t kMaxNameBytes = 255;

absl::Status OpenError(const std::string& what, int error) {
  const std::string text = absl::StrCat(what, ": ", std::strerror(error));
  if (error == ENOENT) return absl::NotFoundError(text);
  return absl::InvalidArgumentError(text);
}

}  // namespace

FileHandle::FileHandle(FileHandle&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FileHandle::~FileHandle() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::Status CheckPlainFileName(absl::string_view file_name) {
  const bool plain = !file_name.empty() && file_name.size() <= kMaxNameBytes && file_name != "." &&
                     file_name != ".." && file_name.find('/') == absl::string_view::npos &&
                     file_name.find('\0') == absl::string_view::npos;
  if (plain) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::CHexEscape(file_name.substr(0, kMaxNameBytes)),
                   "\" is not the name of a file in the model's own folder"));
}

absl::StatusOr<std::unique_ptr<CheckpointFolder>> CheckpointFolder::Open(FolderOptions options) {
  const int descriptor = open(options.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return OpenError(options.path, errno);
  return std::unique_ptr<CheckpointFolder>(
      new CheckpointFolder(std::move(options), FileHandle(descriptor)));
}

absl::StatusOr<size_t> CheckpointFolder::AddFile(const std::string& file_name) {
  RETURN_IF_ERROR(CheckPlainFileName(file_name));
  for (size_t file = 0; file < files_.size(); ++file) {
    if (files_[file].name == file_name) return file;
  }
  // Not blocking: a pipe under that name must not hang the start.
  const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (options_.follow_links ? 0 : O_NOFOLLOW);
  const int descriptor = openat(folder_.get(), file_name.c_str(), flags);
  if (descriptor < 0) {
    if (errno == ELOOP && !options_.follow_links) {
      return absl::InvalidArgumentError(
          absl::StrCat(file_name, " is a symbolic link, which --follow-links would accept"));
    }
    return OpenError(file_name, errno);
  }
  OpenFile file = {file_name, FileHandle(descriptor)};
  struct stat attributes = {};
  if (fstat(descriptor, &attributes) != 0) return OpenError(file_name, errno);
  if (!S_ISREG(attributes.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(file_name, " is not a regular file"));
  }
  file.size = static_cast<uint64_t>(attributes.st_size);
  file.modified = attributes.st_mtim;
  files_.push_back(std::move(file));
  return files_.size() - 1;
}

bool CheckpointFolder::Contains(const std::string& file_name) const {
  return CheckPlainFileName(file_name).ok() &&
         faccessat(folder_.get(), file_name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

absl::StatusOr<std::vector<std::string>> CheckpointFolder::ListFiles() const {
  DIR* stream = opendir(options_.path.c_str());
  if (stream == nullptr) return OpenError(options_.path, errno);
  std::vector<std::string> names;
  while (const dirent* entry = readdir(stream)) {
    struct stat attributes = {};
    const int flags = options_.follow_links ? 0 : AT_SYMLINK_NOFOLLOW;
    if (fstatat(folder_.get(), entry->d_name, &attributes, flags) == 0 &&
        S_ISREG(attributes.st_mode)) {
      names.emplace_back(entry->d_name);
    }
  }
  closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<size_t> CheckpointFolder::ReadAt(size_t file, uint64_t offset,
                                                std::span<std::byte> out) const {
  return ReadAt(file, offset, std::span<const std::span<std::byte>>(&out, 1));
}

absl::StatusOr<size_t> CheckpointFolder::ReadAt(
    size_t file, uint64_t offset, std::span<const std::span<std::byte>> pieces) const {
  BATON_CHECK(!pieces.empty() && pieces.size() <= kMaxPieces);
  std::array<iovec, kMaxPieces> places;
  for (size_t i = 0; i < pieces.size(); ++i) places[i] = {pieces[i].data(), pieces[i].size()};
  const OpenFile& open_file = files_[file];
  while (true) {
    const ssize_t count = preadv(open_file.handle.get(), places.data(),
                                 static_cast<int>(pieces.size()), static_cast<off_t>(offset));
    if (count >= 0) return static_cast<size_t>(count);
    if (errno == EINTR) continue;
    const std::string text = std::strerror(errno);
    if (errno == ESTALE || errno == ENOENT) return absl::NotFoundError(text);
    return absl::UnavailableError(text);
  }
}

absl::StatusOr<double> CheckpointFolder::CachedShare(int num_samples) const {
  uint64_t total = 0;
  for (const OpenFile& file : files_) total += file.size;
  if (total == 0 || num_samples <= 0) return 1.0;
  // A page that is missing begins a read ahead; advised so, of itself alone.
  const auto advise = [this](int advice) {
    for (const OpenFile& file : files_) posix_fadvise(file.handle.get(), 0, 0, advice);
  };
  advise(POSIX_FADV_RANDOM);
  const auto as_before = absl::MakeCleanup([&advise] { advise(POSIX_FADV_NORMAL); });
  int cached = 0;
  size_t file = 0;
  uint64_t before = 0;  // bytes of the files before `file`
  for (int i = 0; i < num_samples; ++i) {
    const uint64_t at = total / static_cast<uint64_t>(num_samples) * static_cast<uint64_t>(i);
    while (at - before >= files_[file].size) before += files_[file++].size;
    std::byte byte;
    iovec place = {.iov_base = &byte, .iov_len = 1};
    const ssize_t count =
        preadv2(files_[file].handle.get(), &place, 1, static_cast<off_t>(at - before), RWF_NOWAIT);
    if (count < 0 && errno != EAGAIN && errno != EINTR)
      return absl::UnimplementedError(absl::StrCat(files_[file].name, ": ", std::strerror(errno)));
    cached += count == 1;
  }
  return static_cast<double>(cached) / num_samples;
}

std::string CheckpointFolder::VersionOf(size_t file) const {
  const OpenFile& open_file = files_[file];
  return absl::StrCat(open_file.size, " ", open_file.modified.tv_sec, ".",
                      open_file.modified.tv_nsec);
}

absl::Status CheckpointFolder::CheckUnchanged(size_t file) const {
  const OpenFile& open_file = files_[file];
  struct stat attributes = {};
  if (fstat(open_file.handle.get(), &attributes) != 0) {
    return absl::NotFoundError(absl::StrCat(open_file.name, ": ", std::strerror(errno)));
  }
  const uint64_t now = static_cast<uint64_t>(attributes.st_size);
  if (now < open_file.size) {
    return absl::DataLossError(
        absl::StrCat(open_file.name, " was truncated to ", now, " bytes; it had ", open_file.size));
  }
  const bool written = now != open_file.size ||
                       attributes.st_mtim.tv_sec != open_file.modified.tv_sec ||
                       attributes.st_mtim.tv_nsec != open_file.modified.tv_nsec;
  if (written) {
    return absl::FailedPreconditionError(
        absl::StrCat(open_file.name, " has been written to since it was checked"));
  }
  return absl::OkStatus();
}

}  // namespace baton::loader
