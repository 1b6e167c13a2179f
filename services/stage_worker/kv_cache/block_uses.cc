#include "services/stage_worker/kv_cache/block_uses.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "kernels/api/attention.h"

namespace baton::stage {
namespace {

absl::Status Refuse(uint32_t block, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("block ", block, " ", why));
}

}  // namespace

void BlockUsesDraft::Drop(absl::Span<const uint32_t> blocks) {
  for (uint32_t block : blocks) --Of(block).num_holders;
}

absl::Status BlockUsesDraft::Take(uint32_t block) {
  BlockUses::Use& use = Of(block);
  if (use.num_holders > 0) return Refuse(block, "is held by another sequence");
  use = {.num_holders = 1, .num_written = 0};
  return absl::OkStatus();
}

absl::Status BlockUsesDraft::Share(uint32_t block) {
  BlockUses::Use& use = Of(block);
  if (use.num_written != kernels::kBlockTokens) {
    return Refuse(block, absl::StrCat("is to be shared but has ", use.num_written, " tokens, not ",
                                      kernels::kBlockTokens));
  }
  ++use.num_holders;
  return absl::OkStatus();
}

absl::Status BlockUsesDraft::Write(uint32_t block, uint32_t begin, uint32_t end) {
  BlockUses::Use& use = Of(block);
  if (use.num_holders != 1) {
    return Refuse(block, absl::StrCat("is to be written but has ", use.num_holders, " holders"));
  }
  if (use.num_written != begin) {
    return Refuse(block, absl::StrCat("is to be written from slot ", begin, " but has ",
                                      use.num_written, " tokens"));
  }
  use.num_written = end;
  return absl::OkStatus();
}

void BlockUsesDraft::Unwrite(uint32_t block, uint32_t begin) {
  BlockUses::Use& use = Of(block);
  use.num_written = std::min(use.num_written, begin);
}

void BlockUsesDraft::Commit() {
  for (const auto& [block, use] : changed_) {
    BlockUses::Use& old = uses_->uses_[block];
    uses_->num_held_ += (use.num_holders > 0 ? 1 : 0) - (old.num_holders > 0 ? 1 : 0);
    old = use;
  }
  changed_.clear();
}

}  // namespace baton::stage
