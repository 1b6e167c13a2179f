#include "services/scheduler/core/block_ledger.h"

#include <utility>

#include "common/log/check.h"

namespace baton::scheduler {

BlockLedger::BlockLedger(uint32_t num_blocks, uint32_t block_tokens)
    : num_blocks_(num_blocks), block_tokens_(block_tokens) {
  BATON_CHECK(block_tokens > 0) << "blocks without tokens";
  for (BlockId block = 0; block < num_blocks; ++block) free_.push_back(block);
}

uint32_t BlockLedger::BlocksFor(uint64_t num_tokens) const {
  return static_cast<uint32_t>((num_tokens + block_tokens_ - 1) / block_tokens_);
}

std::optional<std::vector<BlockId>> BlockLedger::Grow(SequenceId id, uint64_t num_tokens) {
  const size_t held = Table(id).size();
  const size_t needed = BlocksFor(num_tokens);
  if (needed <= held) return std::vector<BlockId>();
  if (needed - held > free_.size()) return std::nullopt;
  const auto end = free_.begin() + static_cast<std::ptrdiff_t>(needed - held);
  std::vector<BlockId> added(free_.begin(), end);
  free_.erase(free_.begin(), end);
  std::vector<BlockId>& table = tables_[id];
  table.insert(table.end(), added.begin(), added.end());
  return added;
}

void BlockLedger::Release(SequenceId id) {
  const auto found = tables_.find(id);
  if (found == tables_.end()) return;
  // The tail first: it is the part of a sequence that others are least likely to share.
  free_.insert(free_.end(), found->second.rbegin(), found->second.rend());
  tables_.erase(found);
}

const std::vector<BlockId>& BlockLedger::Table(SequenceId id) const {
  static const std::vector<BlockId>* const kNone = new std::vector<BlockId>();
  const auto found = tables_.find(id);
  return found == tables_.end() ? *kNone : found->second;
}

}  // namespace baton::scheduler
