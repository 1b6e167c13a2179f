#include "services/scheduler/core/block_ledger.h"

#include <algorithm>
#include <utility>

#include "absl/types/span.h"

#include "common/log/check.h"

namespace baton::scheduler {
namespace {

// What block `index` of `sequence` holds once it is full; its tokens must be known.
BlockContent ContentOf(Sequence* sequence, const BlockHasher& hasher, size_t index) {
  const size_t block_tokens = hasher.block_tokens();
  return {.hash = sequence->HashOfBlocks(index + 1, hasher),
          .parent = sequence->HashOfBlocks(index, hasher),
          .tokens =
              absl::MakeConstSpan(sequence->tokens()).subspan(index * block_tokens, block_tokens)};
}

}  // namespace

BlockLedger::BlockLedger(uint32_t num_blocks, uint32_t block_tokens,
                         std::optional<BlockHasher> hasher)
    : num_blocks_(num_blocks),
      block_tokens_(block_tokens),
      hasher_(std::move(hasher)),
      num_holders_(num_blocks, 0),
      blank_(num_blocks),
      cached_(num_blocks),
      index_(num_blocks) {
  BATON_CHECK(block_tokens > 0) << "blocks without tokens";
  BATON_CHECK(!hasher_.has_value() || hasher_->block_tokens() == block_tokens)
      << "blocks are hashed by " << hasher_->block_tokens() << " tokens";
  for (BlockId block = 0; block < num_blocks; ++block) blank_.PushBack(block);
}

uint32_t BlockLedger::BlocksFor(uint64_t num_tokens) const {
  return static_cast<uint32_t>((num_tokens + block_tokens_ - 1) / block_tokens_);
}

CachedPrefix BlockLedger::FindPrefix(Sequence* sequence) const {
  CachedPrefix prefix;
  if (!hasher_.has_value() || !sequence->reads_cache() || index_.size() == 0) return prefix;
  const size_t most = (sequence->num_tokens() - 1) / block_tokens_;
  while (prefix.blocks.size() < most) {
    const std::optional<BlockId> block =
        index_.Find(ContentOf(sequence, *hasher_, prefix.blocks.size()));
    if (!block.has_value()) break;
    prefix.blocks.push_back(*block);
    if (num_holders_[*block] == 0) ++prefix.num_free;
  }
  return prefix;
}

std::optional<std::vector<BlockId>> BlockLedger::Begin(SequenceId id, const CachedPrefix& prefix,
                                                       uint64_t num_tokens) {
  BATON_CHECK(Table(id).empty()) << "sequence " << id << " begins with blocks";
  const uint32_t num_new = BlocksFor(num_tokens) - static_cast<uint32_t>(prefix.blocks.size());
  if (num_new + prefix.num_free > num_free()) return std::nullopt;
  for (BlockId block : prefix.blocks) {
    if (num_holders_[block]++ == 0) cached_.Remove(block);
  }
  HeldBlocks& held = tables_[id];
  held.blocks = prefix.blocks;
  held.num_recorded = prefix.blocks.size();
  Grow(id, num_tokens);
  return held.blocks;
}

std::optional<std::vector<BlockId>> BlockLedger::Grow(SequenceId id, uint64_t num_tokens) {
  const size_t held = Table(id).size();
  const size_t needed = BlocksFor(num_tokens);
  if (needed <= held) return std::vector<BlockId>();
  if (needed - held > num_free()) return std::nullopt;
  std::vector<BlockId> added;
  while (held + added.size() < needed) added.push_back(TakeFree());
  std::vector<BlockId>& table = tables_[id].blocks;
  table.insert(table.end(), added.begin(), added.end());
  return added;
}

BlockId BlockLedger::TakeFree() {
  const bool evicts = blank_.empty();
  const BlockId block = evicts ? cached_.PopFront() : blank_.PopFront();
  index_.Drop(block);
  if (evicts) ++num_evicted_;
  num_holders_[block] = 1;
  return block;
}

void BlockLedger::Record(Sequence* sequence) {
  const auto found = tables_.find(sequence->id());
  if (!hasher_.has_value() || found == tables_.end()) return;
  HeldBlocks& held = found->second;
  if (held.distrusted) return;
  const size_t num_full =
      std::min(sequence->num_scheduled(), sequence->num_tokens()) / block_tokens_;
  for (; held.num_recorded < num_full; ++held.num_recorded) {
    index_.Put(held.blocks[held.num_recorded], ContentOf(sequence, *hasher_, held.num_recorded));
  }
}

void BlockLedger::Distrust(SequenceId id) {
  const auto found = tables_.find(id);
  if (found == tables_.end()) return;
  found->second.distrusted = true;
  for (BlockId block : found->second.blocks) index_.Drop(block);
}

void BlockLedger::Release(SequenceId id) {
  const auto found = tables_.find(id);
  if (found == tables_.end()) return;
  // The tail first: it is the part of a sequence that others are least likely to share.
  const std::vector<BlockId>& blocks = found->second.blocks;
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
    if (--num_holders_[*block] == 0) FreeBlock(*block);
  }
  tables_.erase(found);
}

void BlockLedger::FreeBlock(BlockId block) {
  if (index_.Offer(block)) {
    cached_.PushBack(block);
    return;
  }
  index_.Drop(block);
  blank_.PushBack(block);
}

const std::vector<BlockId>& BlockLedger::Table(SequenceId id) const {
  static const std::vector<BlockId>* const kNone = new std::vector<BlockId>();
  const auto found = tables_.find(id);
  return found == tables_.end() ? *kNone : found->second.blocks;
}

}  // namespace baton::scheduler
