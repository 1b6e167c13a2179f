// A queue of blocks from whose middle a block can be taken; every operation takes constant time.
#pragma once

#include <cstdint>
#include <vector>

#include "common/log/check.h"
#include "services/scheduler/core/sequence.h"

namespace baton::scheduler {

class BlockList final {
 public:
  // Takes blocks 0 .. num_blocks - 1; empty.
  explicit BlockList(uint32_t num_blocks)
      : links_(size_t{num_blocks} + 1, Link{kAbsent, kAbsent}), end_(num_blocks) {
    links_[end_] = {end_, end_};
  }

  uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool contains(BlockId block) const { return links_[block].next != kAbsent; }

  void PushBack(BlockId block) {
    BATON_CHECK(!contains(block)) << "block " << block << " is in the list";
    const BlockId last = links_[end_].previous;
    links_[block] = {last, end_};
    links_[last].next = block;
    links_[end_].previous = block;
    ++size_;
  }
  // Takes the one that has been in it longest.
  BlockId PopFront() {
    BATON_CHECK(!empty()) << "no block is in the list";
    const BlockId block = links_[end_].next;
    Remove(block);
    return block;
  }
  void Remove(BlockId block) {
    BATON_CHECK(contains(block)) << "block " << block << " is not in the list";
    const Link link = links_[block];
    links_[link.previous].next = link.next;
    links_[link.next].previous = link.previous;
    links_[block] = {kAbsent, kAbsent};
    --size_;
  }

 private:
  struct Link {
    BlockId previous;
    BlockId next;
  };
  static constexpr BlockId kAbsent = UINT32_MAX;

  std::vector<Link> links_;  // of each block; the last entry is both ends
  const BlockId end_;
  uint32_t size_ = 0;
};

}  // namespace baton::scheduler
