// Token masks by key, the least recently used dropped when they take too many bytes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace baton::structured {

// One bit per token of the vocabulary: it may be drawn.
using TokenMask = std::vector<uint64_t>;

inline void AllowToken(uint32_t token, TokenMask* mask) {
  (*mask)[token / 64] |= uint64_t{1} << (token % 64);
}
inline bool IsAllowed(uint32_t token, const TokenMask& mask) {
  return (mask[token / 64] >> (token % 64) & 1) != 0;
}

// One caller at a time. Keys of different owners are different.
class MaskCache final {
 public:
  using Key = std::pair<uint64_t, uint64_t>;  // owner, and what it calls the mask

  struct Entry {
    TokenMask mask;
    // Nodes of the vocabulary at which a rule is left; see TokenMasks.
    std::vector<uint32_t> leaving_nodes;

    size_t bytes() const {
      return 128 + mask.capacity() * sizeof(uint64_t) + leaving_nodes.capacity() * sizeof(uint32_t);
    }
  };

  explicit MaskCache(size_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

  // A name for who calls next. Any thread.
  uint64_t NewOwner() { return ++last_owner_; }
  // Null if it is not there.
  std::shared_ptr<const Entry> Find(const Key& key);
  // At least the newest entry is kept.
  void Put(const Key& key, std::shared_ptr<const Entry> entry);

  // So many bytes of masks are held elsewhere, for all that use this cache; they count here.
  void CountShared(size_t bytes);

  size_t bytes() const { return bytes_; }

 private:
  struct Place {
    Key key;
    std::shared_ptr<const Entry> entry;
  };

  void DropOldest();  // until the capacity is kept to

  const size_t capacity_bytes_;
  size_t bytes_ = 0;
  size_t shared_bytes_ = 0;  // of bytes_
  std::atomic<uint64_t> last_owner_ = 0;
  std::list<Place> order_;  // the newest first
  absl::flat_hash_map<Key, std::list<Place>::iterator> places_;
};

}  // namespace baton::structured
