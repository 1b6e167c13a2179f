#include "common/tokenizer/text_file.h"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <sys/stat.h>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace baton {
namespace {

absl::Status CannotRead(const std::string& path, int error) {
  if (error == ENOENT) return absl::NotFoundError(absl::StrCat(path, ": no such file"));
  return absl::UnavailableError(absl::StrCat(path, ": ", std::generic_category().message(error)));
}

}  // namespace

absl::StatusOr<std::string> ReadTextFile(const std::string& path, size_t max_bytes) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (file == nullptr) return CannotRead(path, errno);
  struct stat status = {};
  if (fstat(fileno(file.get()), &status) != 0) return CannotRead(path, errno);
  if (!S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is no regular file"));
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", size, " bytes; at most ", max_bytes, " are read"));
  }
  std::string content(size, '\0');
  content.resize(std::fread(content.data(), 1, size, file.get()));
  if (std::ferror(file.get()) != 0) return CannotRead(path, errno);
  return content;
}

}  // namespace baton
