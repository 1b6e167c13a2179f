// The header of a safetensors file, parsed as what it is: bytes that anyone may have written.
//
//   0            8 bytes  length of the header, little-endian
//   8            length   JSON: {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ...,
//                         "__metadata__": {"key": "text"}}, padded with spaces
//   8 + length   rest     data; data_offsets count from here
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton::loader {

inline constexpr uint64_t kHeaderLengthBytes = 8;
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;
inline constexpr size_t kMaxTensorNameBytes = 1024;
inline constexpr size_t kMaxDimensions = 8;

struct HeaderEntry {
  std::string name;
  std::string type;  // as written: "BF16"
  std::vector<uint64_t> shape;
  uint64_t begin = 0;  // in the data part
  uint64_t end = 0;
};

// The JSON's length, from the first 8 bytes of a file of `file_bytes`. Errors: DataLoss (the file
// is shorter than its header says), InvalidArgument (over kMaxHeaderBytes, or another format, named
// where it is known).
absl::StatusOr<uint64_t> ParseHeaderLength(std::span<const std::byte> start, uint64_t file_bytes);

// The tensors in order of their offsets, which are proven to cover [0, data_bytes) without holes
// and overlaps and to agree with type and shape. Errors: InvalidArgument naming the tensor;
// DataLoss if a tensor ends behind `data_bytes`.
absl::StatusOr<std::vector<HeaderEntry>> ParseHeader(absl::string_view json, uint64_t data_bytes);

// Bytes of one element of a safetensors type; 0 if the format has no such type.
uint64_t ElementBytes(absl::string_view type);

}  // namespace baton::loader
