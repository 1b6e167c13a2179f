#include "kernels/cpu/scratch.h"

#include <algorithm>

namespace baton::kernels::cpu {
namespace {

constexpr size_t kFirstChunkBytes = 256 * 1024;

}  // namespace

void Scratch::Reset() {
  most_taken_ = std::max(most_taken_, taken_);
  used_ = 0;
  taken_ = 0;
  if (chunks_.size() <= 1) return;
  // Chunks grow by doubling, of which the last may be empty but for a little.
  chunks_.clear();
  total_ = most_taken_ + most_taken_ / 8;
  chunks_.emplace_back(total_);
}

std::byte* Scratch::TakeBytes(size_t bytes) {
  const size_t rounded = (bytes + 63) / 64 * 64;
  if (chunks_.empty() || used_ + rounded > chunks_.back().size()) {
    const size_t chunk = std::max({rounded, total_, kFirstChunkBytes});
    chunks_.emplace_back(chunk);
    total_ += chunk;
    used_ = 0;
  }
  std::byte* piece = chunks_.back().data() + used_;
  used_ += rounded;
  taken_ += rounded;
  return piece;
}

}  // namespace baton::kernels::cpu
