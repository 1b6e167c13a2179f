#include "services/model_loader/source/read_buffer.h"

#include <algorithm>
#include <cstdlib>
#include <sys/mman.h>
#include <utility>

#include "common/log/check.h"

namespace baton::loader {
namespace {

constexpr size_t kPage = 4096;
// Of the buffers of most reads, if the system gives them: who copies out of one that was lent looks
// up one page instead of 512.
constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

ReadBuffer::ReadBuffer(size_t bytes)
    : capacity_((bytes + kPage - 1) / kPage * kPage), bytes_(bytes) {
  if (capacity_ == 0) capacity_ = kPage;
  const bool huge = capacity_ % kHugePage == 0;
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(huge ? kHugePage : kPage, capacity_)));
  BATON_CHECK(memory_ != nullptr) << "out of memory for " << capacity_ << " bytes";
  if (huge) madvise(memory_.get(), capacity_, MADV_HUGEPAGE);  // a wish
}

void ReadBuffer::Resize(size_t bytes) {
  BATON_CHECK(bytes <= capacity_) << bytes << " of " << capacity_;
  bytes_ = bytes;
}

void ReadBuffer::Free::operator()(std::byte* memory) const { std::free(memory); }

BufferPool::BufferPool(size_t max_kept, size_t min_capacity)
    : max_kept_(max_kept), min_capacity_(min_capacity), kept_(std::make_shared<Kept>()) {}

std::shared_ptr<ReadBuffer> BufferPool::Take(size_t bytes) {
  std::unique_ptr<ReadBuffer> buffer;
  {
    absl::MutexLock lock(&kept_->mutex);
    if (!kept_->buffers.empty() && kept_->buffers.back()->capacity() >= bytes) {
      buffer = std::move(kept_->buffers.back());
      kept_->buffers.pop_back();
    }
  }
  if (buffer == nullptr) buffer = std::make_unique<ReadBuffer>(std::max(bytes, min_capacity_));
  buffer->Resize(bytes);
  const auto give_back = [kept = kept_, max_kept = max_kept_](ReadBuffer* returned) {
    std::unique_ptr<ReadBuffer> owned(returned);
    absl::MutexLock lock(&kept->mutex);
    if (kept->buffers.size() < max_kept) kept->buffers.push_back(std::move(owned));
  };
  return std::shared_ptr<ReadBuffer>(buffer.release(), give_back);
}

}  // namespace baton::loader
