// Element types of tensors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace baton {

enum class DataType : uint8_t { kFloat32 = 1, kBFloat16 = 2, kFloat8E4M3 = 3 };

constexpr size_t SizeOf(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return 4;
    case DataType::kBFloat16:
      return 2;
    case DataType::kFloat8E4M3:
      return 1;
  }
  return 0;
}

// Name as safetensors writes it: "F32", "BF16", "F8_E4M3".
constexpr absl::string_view Name(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return "F32";
    case DataType::kBFloat16:
      return "BF16";
    case DataType::kFloat8E4M3:
      return "F8_E4M3";
  }
  return "?";
}

}  // namespace baton
