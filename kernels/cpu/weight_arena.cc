#include "kernels/cpu/weight_arena.h"

#include <algorithm>
#include <cstdint>
#include <sys/mman.h>

#include "common/log/check.h"

namespace baton::kernels::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
// Of a mapping. What its last piece does not need is never touched.
constexpr size_t kMappingBytes = size_t{64} << 20;

size_t RoundUp(size_t size, size_t step) { return (size + step - 1) / step * step; }

WeightMemory Map(size_t bytes) {
  // Room to begin at a huge page.
  const size_t mapped = bytes + kHugePage;
  void* base = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  BATON_CHECK(base != MAP_FAILED) << "out of memory for " << bytes << " bytes of weights";
  auto* begin = reinterpret_cast<std::byte*>(RoundUp(reinterpret_cast<uintptr_t>(base), kHugePage));
  // Advice: without it, or without such pages, weights are only slower.
  madvise(begin, bytes, MADV_HUGEPAGE);
  return WeightMemory(begin, [base, mapped](std::byte*) { munmap(base, mapped); });
}

}  // namespace

WeightMemory WeightArena::Take(size_t bytes) {
  if (bytes == 0) return nullptr;
  const size_t piece = RoundUp(bytes, 64);
  const absl::MutexLock lock(&mutex_);
  if (mapping_ == nullptr || size_ - used_ < piece) {
    size_ = RoundUp(std::max(piece, kMappingBytes), kHugePage);
    mapping_ = Map(size_);
    used_ = 0;
  }
  // A piece keeps the whole mapping alive.
  WeightMemory memory(mapping_, mapping_.get() + used_);
  used_ += piece;
  return memory;
}

}  // namespace baton::kernels::cpu
