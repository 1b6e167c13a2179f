// What the stages of a group hold, as one memory: their KV cache by content, so that a block that
// two sequences own, a chunk that is left out, a token told to the wrong sequence and KV of another
// form of attention all change what is sampled, or are named.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "services/scheduler/core/schedule.h"

namespace baton::scheduler {

class StageMemory final {
 public:
  // Tokens that are sampled lie below it.
  static constexpr uint32_t kVocabSize = 512;

  // `num_drafts` are guessed behind each token that is sampled, some of them wrong. Of KV, and what
  // is sampled from it, the form of every token before counts, if prompts are expanded.
  StageMemory(uint32_t num_blocks, uint32_t block_tokens, uint32_t num_drafts = 0,
              bool expands_prompts = false)
      : num_blocks_(num_blocks),
        block_tokens_(block_tokens),
        num_drafts_(num_drafts),
        expands_prompts_(expands_prompts) {}

  // Works on `batch`, which `schedule` has just formed. What it samples is in the result.
  StepResult Run(const Batch& batch, const Schedule& schedule);

  // The token after `tokens`, of which so many were the prompt: the reference that every answer is
  // held against.
  TokenId NextToken(const std::vector<TokenId>& tokens, uint32_t num_prompt) const;

  size_t num_sequences() const { return sequences_.size(); }
  // Empty if no rule was broken.
  const std::string& violation() const { return violation_; }

 private:
  struct Known {
    std::vector<TokenId> tokens;
    std::vector<uint64_t> contents;  // of each token's KV: a digest of it and all before it
    std::vector<BlockId> blocks;
    uint32_t num_expanded = 0;
    uint32_t num_computed = 0;
    TokenId sampled = 0;  // last, by step
    StepId sampled_step = 0;
    std::vector<TokenId> drafts;  // behind the last one sampled
  };

  void Learn(const BatchRow& row, const Schedule& schedule);
  void Compute(const BatchRow& row, Known* known);
  void WriteDrafts(const BatchRow& row, Known* known);
  // What the row samples, and guesses behind that.
  void Sample(const BatchRow& row, Known* known, StepResult* result);
  uint64_t* Cell(const Known& known, uint32_t position);
  // Of the tokens of a prompt, those in whole blocks.
  uint32_t NumExpanded(uint32_t num_prompt) const {
    return expands_prompts_ ? num_prompt / block_tokens_ * block_tokens_ : 0;
  }
  void Violate(SequenceId id, const std::string& what);

  const uint32_t num_blocks_;
  const uint32_t block_tokens_;
  const uint32_t num_drafts_;
  const bool expands_prompts_;
  std::unordered_map<SequenceId, Known> sequences_;
  std::unordered_map<uint64_t, uint64_t> cells_;  // block * block_tokens + offset
  std::string violation_;
};

}  // namespace baton::scheduler
