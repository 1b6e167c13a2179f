// Which blocks are held by how many sequences, and how far each has been written in this epoch:
// what a stage needs to refuse a step that would write to another sequence's block, or read what no
// row of this epoch has put there.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/span.h"

namespace baton::stage {

// Threads: one caller at a time.
class BlockUses final {
 public:
  struct Use {
    uint32_t num_holders = 0;
    uint32_t num_written = 0;  // slots from the block's begin that hold KV of one text
  };

  // Nothing is held or written; blocks run from 0 to `num_blocks` - 1 from now on.
  void Reset(int64_t num_blocks) {
    uses_.assign(static_cast<size_t>(num_blocks), Use{});
    num_held_ = 0;
  }
  int64_t num_blocks() const { return static_cast<int64_t>(uses_.size()); }
  // Blocks that at least one sequence holds.
  int64_t num_held() const { return num_held_; }

 private:
  friend class BlockUsesDraft;

  std::vector<Use> uses_;
  int64_t num_held_ = 0;
};

// What a step does to the uses of blocks, in the order of its rows; nothing is changed before
// Commit. Block ids must be below num_blocks(). Errors: InvalidArgument naming the block.
class BlockUsesDraft final {
 public:
  // `uses` must outlive this object.
  explicit BlockUsesDraft(BlockUses* uses) : uses_(uses) {}

  // A sequence is forgotten; its blocks keep what they hold.
  void Drop(absl::Span<const uint32_t> blocks);
  // A sequence gets a block for tokens of its own: nobody may hold it.
  absl::Status Take(uint32_t block);
  // A sequence begins behind a block: it must be full.
  absl::Status Share(uint32_t block);
  // A row writes slots [begin, end) of `block`: nobody else may hold it, and they must follow what
  // is written.
  absl::Status Write(uint32_t block, uint32_t begin, uint32_t end);
  // What stands in `block` from slot `begin` on was a guess that proved wrong: it is to be written
  // again.
  void Unwrite(uint32_t block, uint32_t begin);

  void Commit();

 private:
  BlockUses::Use& Of(uint32_t block) {
    return changed_.try_emplace(block, uses_->uses_[block]).first->second;
  }

  BlockUses* const uses_;
  absl::flat_hash_map<uint32_t, BlockUses::Use> changed_;
};

}  // namespace baton::stage
