// Owned host memory, zeroed, aligned to 64 bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "common/tensor/tensor_view.h"

namespace baton {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // Ends the process if memory is exhausted: sizes are planned and checked before.
  explicit AlignedBuffer(size_t bytes);

  std::byte* data() { return memory_.get(); }
  const std::byte* data() const { return memory_.get(); }
  size_t size() const { return bytes_; }
  std::span<std::byte> span() { return {memory_.get(), bytes_}; }
  std::span<const std::byte> span() const { return {memory_.get(), bytes_}; }

  // A dense view of the whole buffer, which must hold at least rows x columns elements.
  TensorView AsTensor(DataType type, int64_t rows, int64_t columns);

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t bytes_ = 0;
};

}  // namespace baton
