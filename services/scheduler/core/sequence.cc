#include "services/scheduler/core/sequence.h"

#include <utility>

#include "absl/types/span.h"

#include "common/log/check.h"

namespace baton::scheduler {
Sequence::Sequence(SequenceRequest request, uint64_t arrival)
    : arrival_(arrival),
      num_prompt_tokens_(static_cast<uint32_t>(request.prompt.size())),
      tokens_(std::move(request.prompt)),
      request_(std::move(request)) {
  tokens_.insert(tokens_.end(), request_.resumed.begin(), request_.resumed.end());
  request_.prompt.clear();
  request_.resumed.clear();
}

void Sequence::Advance(uint32_t num_tokens, StepId step) {
  BATON_CHECK(num_tokens > 0 && num_tokens <= num_to_compute())
      << "sequence " << id() << ": " << num_tokens << " of " << num_to_compute();
  num_scheduled_ += num_tokens;
  num_told_ = this->num_tokens();
  drafts_.clear();
  ++num_steps_in_flight_;
  last_step_ = step;
  if (num_to_compute() > 0) return;
  ++num_samples_in_flight_;
  sample_step_ = step;
}

void Sequence::AdvancePending(StepId step) {
  BATON_CHECK(feedback_step() > 0) << "sequence " << id() << " has no token that can be pending";
  ++num_scheduled_;
  num_told_ = num_scheduled_;
  ++num_steps_in_flight_;
  ++num_samples_in_flight_;
  sample_step_ = step;
  last_step_ = step;
}

void Sequence::AppendToken(TokenId token) {
  BATON_CHECK(num_samples_in_flight_ > 0) << "sequence " << id() << " has nothing sampled";
  tokens_.push_back(token);
  --num_samples_in_flight_;
  num_losses_ = 0;
  num_cut_links_ = 0;
}

void Sequence::AppendBehindDraft(TokenId token) {
  BATON_CHECK(num_scheduled_ + 1 == num_tokens())
      << "sequence " << id() << ": " << num_scheduled_ << " of " << num_tokens() << " scheduled";
  tokens_.push_back(token);
  ++num_scheduled_;
}

void Sequence::SetNumExpanded(std::optional<uint32_t> num_tokens) {
  BATON_CHECK(num_tokens.value_or(0) <= num_prompt_tokens_)
      << "sequence " << id() << " has a prompt of " << num_prompt_tokens_;
  if (num_tokens.value_or(0) != num_expanded_.value_or(0)) hashes_.clear();
  num_expanded_ = num_tokens;
}

const BlockHash& Sequence::HashOfBlocks(size_t num_blocks, const BlockHasher& hasher) {
  const size_t block_tokens = hasher.block_tokens();
  BATON_CHECK(num_blocks * block_tokens <= tokens_.size())
      << "sequence " << id() << " has no " << num_blocks << " blocks";
  if (hashes_.empty()) hashes_.push_back(hasher.Root(cache_salt()));
  const absl::Span<const TokenId> tokens = absl::MakeConstSpan(tokens_);
  while (hashes_.size() <= num_blocks) {
    const size_t begin = (hashes_.size() - 1) * block_tokens;
    const bool expanded = begin + block_tokens <= num_expanded_.value_or(0);
    hashes_.push_back(hasher.Next(hashes_.back(), tokens.subspan(begin, block_tokens), expanded));
  }
  return hashes_[num_blocks];
}

void Sequence::Begin(uint32_t num_cached, StepId step) {
  BATON_CHECK(num_scheduled_ == 0 && num_cached < num_tokens())
      << "sequence " << id() << " begins behind " << num_cached << " of " << num_tokens();
  num_scheduled_ = num_cached;
  begin_step_ = step;
  last_turn_ = step;
  has_begun_ = true;
}

void Sequence::FinishStep() {
  BATON_CHECK(num_steps_in_flight_ > 0) << "sequence " << id() << " is in no step";
  --num_steps_in_flight_;
}

void Sequence::Restart() {
  drafts_.clear();
  num_scheduled_ = 0;
  num_told_ = 0;
  num_steps_in_flight_ = 0;
  num_samples_in_flight_ = 0;
  sample_step_ = 0;
  last_step_ = 0;
  begin_step_ = 0;
  last_turn_ = 0;
}

}  // namespace baton::scheduler
