// A new file, written front to back; never one that exists.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton {

class OutputFile final {
 public:
  // Errors: AlreadyExists, InvalidArgument (cannot be created); they name the path.
  static absl::StatusOr<std::unique_ptr<OutputFile>> Create(const std::string& path);
  // Removes the file unless it was closed.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Errors: ResourceExhausted (no space), Unavailable (I/O error).
  absl::Status Append(std::span<const std::byte> bytes);
  absl::Status Append(absl::string_view text);
  // Brings the bytes to the storage; the file is complete.
  absl::Status Close();

 private:
  OutputFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  absl::Status Error(const char* what) const;

  const std::string path_;
  int descriptor_;
};

}  // namespace baton
