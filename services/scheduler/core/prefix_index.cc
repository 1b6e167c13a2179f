#include "services/scheduler/core/prefix_index.h"

#include "common/log/check.h"

namespace baton::scheduler {

void PrefixIndex::Put(BlockId block, const BlockContent& content) {
  Entry& entry = entries_[block];
  BATON_CHECK(entry.tokens.empty() && !content.tokens.empty())
      << "block " << block << " gets contents a second time";
  entry.hash = content.hash;
  entry.parent = content.parent;
  entry.tokens.assign(content.tokens.begin(), content.tokens.end());
  blocks_.try_emplace(content.hash, block);
}

std::optional<BlockId> PrefixIndex::Find(const BlockContent& content) const {
  const auto found = blocks_.find(content.hash);
  if (found == blocks_.end()) return std::nullopt;
  const Entry& entry = entries_[found->second];
  if (entry.parent != content.parent || absl::MakeConstSpan(entry.tokens) != content.tokens) {
    return std::nullopt;
  }
  return found->second;
}

bool PrefixIndex::Offer(BlockId block) {
  const Entry& entry = entries_[block];
  if (entry.tokens.empty()) return false;
  return blocks_.try_emplace(entry.hash, block).first->second == block;
}

bool PrefixIndex::Drop(BlockId block) {
  Entry& entry = entries_[block];
  if (entry.tokens.empty()) return false;
  entry.tokens.clear();
  const auto found = blocks_.find(entry.hash);
  if (found == blocks_.end() || found->second != block) return false;
  blocks_.erase(found);
  return true;
}

}  // namespace baton::scheduler
