// The files of a checkpoint as numbered byte sequences.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace baton::loader {

// Any thread may call any function.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  virtual size_t num_files() const = 0;
  // Name inside the folder, for messages: "model-00001-of-000163.safetensors".
  virtual const std::string& name(size_t file) const = 0;
  // Bytes of the file when it was opened.
  virtual uint64_t size(size_t file) const = 0;

  // Reads at `offset` into `out` and returns how many bytes came: fewer than asked near the end of
  // the file or if the storage chose so, 0 at the end. May wait as long as the storage does.
  // Errors: Unavailable (an I/O error that may pass), NotFound (the file has vanished).
  virtual absl::StatusOr<size_t> ReadAt(size_t file, uint64_t offset,
                                        std::span<std::byte> out) const = 0;

  // The same into several places, one after the other: 1 to kMaxPieces of them.
  static constexpr size_t kMaxPieces = 512;
  virtual absl::StatusOr<size_t> ReadAt(size_t file, uint64_t offset,
                                        std::span<const std::span<std::byte>> pieces) const = 0;

  // DataLoss if the file is shorter than when it was opened, FailedPrecondition if it has been
  // written to since.
  virtual absl::Status CheckUnchanged(size_t file) const = 0;
};

}  // namespace baton::loader
