#include "tests/fakes/sequence_driver.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "kernels/api/attention.h"

namespace baton::fakes {

SequenceDriver::SequenceDriver(StageGroup* group) : group_(group) {
  for (int64_t block = 0; block < group->num_blocks(); ++block) {
    free_blocks_.push_back(static_cast<uint32_t>(block));
  }
}

uint64_t SequenceDriver::Add(std::vector<uint32_t> prompt,
                             const stage::SamplingSettings& sampling) {
  DrivenSequence& sequence = sequences_[++last_id_];
  sequence.num_prompt_tokens = static_cast<uint32_t>(prompt.size());
  sequence.tokens = std::move(prompt);
  sequence.sampling = sampling;
  return last_id_;
}

void SequenceDriver::Share(uint64_t sequence_id, uint64_t other, uint32_t num_cached) {
  DrivenSequence& sequence = sequences_.at(sequence_id);
  sequence.shares_with = other;
  sequence.num_cached = num_cached;
  sequence.num_computed = num_cached;
}

void SequenceDriver::HoldBlock(uint32_t block, DrivenSequence& sequence, stage::ChunkWork& chunk) {
  ++num_holders_[block];
  sequence.blocks.push_back(block);
  chunk.new_block_ids.push_back(block);
}

void SequenceDriver::AddPart(const Part& part, stage::StepWork& work) {
  DrivenSequence& sequence = sequences_.at(part.sequence_id);
  const uint32_t size = static_cast<uint32_t>(sequence.tokens.size());
  stage::ChunkWork chunk;
  chunk.sequence_id = part.sequence_id;
  chunk.begin = sequence.num_computed;
  chunk.num_tokens = std::min(part.num_tokens, size - sequence.num_computed);
  if (sequence.num_told == 0) {
    work.new_sequences.push_back({part.sequence_id, sequence.tokens, sequence.num_prompt_tokens,
                                  sequence.sampling, sequence.num_cached});
    for (size_t i = 0; i < sequence.num_cached / kernels::kBlockTokens; ++i) {
      HoldBlock(at(sequence.shares_with).blocks[i], sequence, chunk);
    }
  } else {
    chunk.appended_token_ids.assign(sequence.tokens.begin() + sequence.num_told,
                                    sequence.tokens.end());
  }
  sequence.num_told = size;
  sequence.num_computed += chunk.num_tokens;
  chunk.sample = sequence.num_computed == size;
  if (chunk.sample && !sequence.drafts.empty()) {
    chunk.draft_token_ids = std::exchange(sequence.drafts, {});
    chunk.num_tokens += static_cast<uint32_t>(chunk.draft_token_ids.size());
    sequence.num_drafts += static_cast<uint32_t>(chunk.draft_token_ids.size());
  }
  GrowBlocks(chunk.begin + chunk.num_tokens, sequence, chunk);
  work.chunks.push_back(std::move(chunk));
}

void SequenceDriver::AddFedPart(uint64_t sequence_id, stage::StepWork& work) {
  DrivenSequence& sequence = sequences_.at(sequence_id);
  stage::ChunkWork chunk;
  chunk.sequence_id = sequence_id;
  chunk.begin = sequence.num_computed;
  chunk.num_tokens = 1;
  chunk.sample = true;
  chunk.feedback_step_id = group_->last_step_id();
  sequence.num_told = ++sequence.num_computed;
  GrowBlocks(sequence.num_computed, sequence, chunk);
  work.chunks.push_back(std::move(chunk));
}

void SequenceDriver::GrowBlocks(uint32_t num_tokens, DrivenSequence& sequence,
                                stage::ChunkWork& chunk) {
  const size_t needed = (num_tokens + kernels::kBlockTokens - 1) / kernels::kBlockTokens;
  while (sequence.blocks.size() < needed) {
    HoldBlock(free_blocks_.back(), sequence, chunk);
    free_blocks_.pop_back();
  }
}

absl::Status SequenceDriver::Step(const std::vector<Part>& parts) {
  stage::StepWork work;
  work.finished_sequence_ids = std::move(finished_);
  finished_.clear();
  for (const Part& part : parts) AddPart(part, work);
  return TakeIn(group_->Run(std::move(work)));
}

absl::Status SequenceDriver::TakeIn(absl::StatusOr<stage::StepOutput> result) {
  RETURN_IF_ERROR(result.status());
  stage::StepOutput output = *std::move(result);
  if (!output.failures.empty()) {
    return absl::InternalError(absl::StrCat("sequence ", output.failures[0].sequence_id, ": ",
                                            output.failures[0].message));
  }
  for (stage::PromptScores& scores : output.prompt_scores) {
    DrivenSequence& sequence = sequences_.at(scores.sequence_id);
    uint32_t position = scores.begin;
    for (stage::PositionScores& score : scores.positions) {
      sequence.scores[position++] = std::move(score);
    }
  }
  uint64_t last_id = 0;
  size_t place = 0;
  for (stage::DrawnToken& token : output.tokens) {
    DrivenSequence& sequence = sequences_.at(token.sequence_id);
    if (token.position != sequence.tokens.size()) return absl::InternalError("wrong position");
    if (token.sequence_id == last_id) {  // the draft before it was right, and is computed
      ++sequence.num_computed;
      ++sequence.num_right;
      if (sequence.right_at.size() <= place) sequence.right_at.resize(place + 1);
      ++sequence.right_at[place++];
    } else {
      place = 0;
    }
    last_id = token.sequence_id;
    sequence.tokens.push_back(token.token_id);
    if (token.logprobs.has_value()) sequence.scores[token.position] = *std::move(token.logprobs);
  }
  for (stage::DraftedTokens& drafts : output.drafts) {
    sequences_.at(drafts.sequence_id).drafts = std::move(drafts.token_ids);
  }
  return absl::OkStatus();
}

absl::Status SequenceDriver::Prefill(uint64_t sequence_id, uint32_t chunk) {
  const DrivenSequence& sequence = at(sequence_id);
  const size_t size = sequence.tokens.size();
  const uint32_t most = static_cast<uint32_t>(group_->max_step_tokens());
  while (sequence.tokens.size() == size) {
    RETURN_IF_ERROR(Step({{sequence_id, std::min(chunk, most)}}));
  }
  return absl::OkStatus();
}

absl::Status SequenceDriver::Generate(uint64_t sequence_id, uint32_t num_tokens, uint32_t chunk) {
  if (num_drawn(sequence_id) < num_tokens) RETURN_IF_ERROR(Prefill(sequence_id, chunk));
  while (num_drawn(sequence_id) < num_tokens) RETURN_IF_ERROR(Step({{sequence_id, 1}}));
  return absl::OkStatus();
}

absl::Status SequenceDriver::GenerateAhead(uint64_t sequence_id, uint32_t num_tokens) {
  stage::StepWork prompt;
  AddPart({sequence_id, at(sequence_id).num_prompt_tokens}, prompt);
  RETURN_IF_ERROR(group_->Submit(std::move(prompt)));
  for (uint32_t drawn = 1; drawn < num_tokens; ++drawn) {
    stage::StepWork ahead;
    AddFedPart(sequence_id, ahead);
    RETURN_IF_ERROR(group_->Submit(std::move(ahead)));
    RETURN_IF_ERROR(TakeIn(group_->Take()));
  }
  return TakeIn(group_->Take());
}

void SequenceDriver::ReturnBlocks(DrivenSequence& sequence) {
  for (uint32_t block : sequence.blocks) {
    if (--num_holders_.at(block) == 0) free_blocks_.push_back(block);
  }
  sequence.blocks.clear();
}

void SequenceDriver::Preempt(uint64_t sequence_id) {
  DrivenSequence& sequence = sequences_.at(sequence_id);
  if (sequence.num_told > 0) finished_.push_back(sequence_id);
  ReturnBlocks(sequence);
  sequence.drafts.clear();
  sequence.num_computed = 0;
  sequence.num_cached = 0;
  sequence.num_told = 0;
}

void SequenceDriver::Finish(uint64_t sequence_id) {
  DrivenSequence& sequence = sequences_.at(sequence_id);
  if (sequence.num_told > 0) finished_.push_back(sequence_id);
  ReturnBlocks(sequence);
  sequences_.erase(sequence_id);
}

}  // namespace baton::fakes
