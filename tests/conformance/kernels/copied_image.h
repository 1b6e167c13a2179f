// Images of packed weights as copies, as a file's bytes would be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include "common/log/check.h"
#include "kernels/api/weight_image.h"

namespace baton::kernels {

// A copy of bytes that ends, up to alignment, where a page begins that nobody may touch: who reads
// on ends the test.
class GuardedCopy {
 public:
  explicit GuardedCopy(std::span<const std::byte> from) : bytes_(from.size()) {
    const auto page = static_cast<size_t>(getpagesize());
    const size_t aligned = RoundUp(bytes_, WeightImage::kAlignment);
    const size_t pages = RoundUp(aligned, page);
    mapped_bytes_ = pages + page;
    void* const mapping =
        mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    BATON_CHECK(mapping != MAP_FAILED) << mapped_bytes_ << " bytes";
    mapping_ = static_cast<std::byte*>(mapping);
    BATON_CHECK(mprotect(mapping_ + pages, page, PROT_NONE) == 0);
    begin_ = mapping_ + pages - aligned;
    if (!from.empty()) std::memcpy(begin_, from.data(), bytes_);
  }
  ~GuardedCopy() { munmap(mapping_, mapped_bytes_); }
  GuardedCopy(const GuardedCopy&) = delete;
  GuardedCopy& operator=(const GuardedCopy&) = delete;

  std::span<std::byte> span() { return {begin_, bytes_}; }

 private:
  static size_t RoundUp(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

  size_t bytes_;
  std::byte* mapping_ = nullptr;
  size_t mapped_bytes_ = 0;
  std::byte* begin_ = nullptr;
};

struct CopiedImage {
  explicit CopiedImage(const WeightImage& from) : image(from) {
    for (std::span<const std::byte>& piece : image.pieces) {
      memories.push_back(std::make_shared<GuardedCopy>(piece));
      piece = memories.back()->span();
    }
  }
  std::shared_ptr<const void> owner() const {
    return std::make_shared<std::vector<std::shared_ptr<GuardedCopy>>>(memories);
  }

  WeightImage image;
  std::vector<std::shared_ptr<GuardedCopy>> memories;  // by piece
};

}  // namespace baton::kernels
