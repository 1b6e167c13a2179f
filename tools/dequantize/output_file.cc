#include "tools/dequantize/output_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"

namespace baton {

absl::StatusOr<std::unique_ptr<OutputFile>> OutputFile::Create(const std::string& path) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor >= 0) return std::unique_ptr<OutputFile>(new OutputFile(path, descriptor));
  const std::string text = absl::StrCat(path, ": ", std::strerror(errno));
  if (errno == EEXIST) return absl::AlreadyExistsError(text);
  return absl::InvalidArgumentError(text);
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(path_.c_str());
}

absl::Status OutputFile::Error(const char* what) const {
  const int error = errno;
  const std::string text = absl::StrCat(path_, ": ", what, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return absl::ResourceExhaustedError(text);
  }
  return absl::UnavailableError(text);
}

absl::Status OutputFile::Append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error("writing");
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Append(absl::string_view text) {
  return Append({reinterpret_cast<const std::byte*>(text.data()), text.size()});
}

absl::Status OutputFile::Close() {
  if (fsync(descriptor_) != 0) return Error("bringing it to the storage");
  const int descriptor = std::exchange(descriptor_, -1);
  if (close(descriptor) != 0) return Error("closing");
  return absl::OkStatus();
}

}  // namespace baton
