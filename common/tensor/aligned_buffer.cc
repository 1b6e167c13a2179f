#include "common/tensor/aligned_buffer.h"

#include <cstdlib>
#include <cstring>

#include "common/log/check.h"

namespace baton {

AlignedBuffer::AlignedBuffer(size_t bytes) : bytes_(bytes) {
  const size_t rounded = (bytes + 63) / 64 * 64;
  if (rounded == 0) return;
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(64, rounded)));
  BATON_CHECK(memory_ != nullptr) << "out of memory for " << bytes << " bytes";
  std::memset(memory_.get(), 0, rounded);
}

TensorView AlignedBuffer::AsTensor(DataType type, int64_t rows, int64_t columns) {
  BATON_CHECK(static_cast<size_t>(rows * columns) * SizeOf(type) <= bytes_)
      << rows << " x " << columns << " in " << bytes_ << " bytes";
  return {memory_.get(), type, rows, columns, columns};
}

void AlignedBuffer::Free::operator()(std::byte* memory) const { std::free(memory); }

}  // namespace baton
