#include "common/structured_output/mask_cache.h"

namespace baton::structured {

std::shared_ptr<const MaskCache::Entry> MaskCache::Find(const Key& key) {
  const auto found = places_.find(key);
  if (found == places_.end()) return nullptr;
  order_.splice(order_.begin(), order_, found->second);
  return found->second->entry;
}

void MaskCache::Put(const Key& key, std::shared_ptr<const Entry> entry) {
  bytes_ += entry->bytes();
  if (const auto found = places_.find(key); found != places_.end()) {
    bytes_ -= found->second->entry->bytes();
    order_.erase(found->second);
  }
  order_.push_front({key, std::move(entry)});
  places_[key] = order_.begin();
  DropOldest();
}

void MaskCache::CountShared(size_t bytes) {
  bytes_ += bytes - shared_bytes_;
  shared_bytes_ = bytes;
  DropOldest();
}

void MaskCache::DropOldest() {
  while (bytes_ > capacity_bytes_ && order_.size() > 1) {
    bytes_ -= order_.back().entry->bytes();
    places_.erase(order_.back().key);
    order_.pop_back();
  }
}

}  // namespace baton::structured
