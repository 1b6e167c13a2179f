// A scheduler for tests: knows sequences, hands out blocks, makes steps, keeps what comes back.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "services/stage_worker/kv_cache/step_work.h"
#include "tests/fakes/stage_group.h"

namespace baton::fakes {

struct DrivenSequence {
  std::vector<uint32_t> tokens;  // prompt and what was drawn
  uint32_t num_prompt_tokens = 0;
  stage::SamplingSettings sampling;
  // By the position of the token that they speak of.
  std::map<uint32_t, stage::PositionScores> scores;

  std::vector<uint32_t> drafts;    // guesses of what follows `tokens`, for the next step
  uint32_t num_drafts = 0;         // checked so far
  uint32_t num_right = 0;          // of these, drawn
  std::vector<uint32_t> right_at;  // of these: entry i, those at place i behind a token

  uint32_t num_computed = 0;
  uint32_t num_told = 0;  // tokens that the stages know; 0: the sequence is new to them
  std::vector<uint32_t> blocks;
  uint64_t shares_with = 0;  // whose blocks its first `num_cached` tokens lie in
  uint32_t num_cached = 0;
};

class SequenceDriver {
 public:
  explicit SequenceDriver(StageGroup* group);

  // Returns the sequence's id.
  uint64_t Add(std::vector<uint32_t> prompt, const stage::SamplingSettings& sampling);

  // `sequence_id`, which no step has had yet, begins behind the first `num_cached` tokens of
  // `other`; these are computed before it begins, or by an earlier part of the same step.
  void Share(uint64_t sequence_id, uint64_t other, uint32_t num_cached);

  struct Part {
    uint64_t sequence_id = 0;
    uint32_t num_tokens = 0;  // cut to what is left
  };
  // One step with these parts. A part that reaches the end of its sequence draws a token.
  absl::Status Step(const std::vector<Part>& parts);

  // Runs the prompt (or, after Preempt, everything) in chunks, up to and with the first draw; a
  // chunk is at most what a step takes.
  absl::Status Prefill(uint64_t sequence_id, uint32_t chunk);
  // Prefill, then one token a step until `num_tokens` were drawn.
  absl::Status Generate(uint64_t sequence_id, uint32_t num_tokens, uint32_t chunk);

  // Generate with each step submitted before the one that samples its token is done. The sequence
  // is new, and runs alone; its prompt is one chunk.
  absl::Status GenerateAhead(uint64_t sequence_id, uint32_t num_tokens);

  // Takes the sequence's blocks; the next part sends it as new and starts from position 0.
  void Preempt(uint64_t sequence_id);
  void Finish(uint64_t sequence_id);

  int64_t vocab_size() const { return group_->vocab_size(); }
  const DrivenSequence& at(uint64_t sequence_id) const { return sequences_.at(sequence_id); }
  uint32_t num_drawn(uint64_t sequence_id) const {
    return static_cast<uint32_t>(at(sequence_id).tokens.size()) - at(sequence_id).num_prompt_tokens;
  }

 private:
  void HoldBlock(uint32_t block, DrivenSequence& sequence, stage::ChunkWork& chunk);
  void AddPart(const Part& part, stage::StepWork& work);
  // A row for the token that the last step submitted samples.
  void AddFedPart(uint64_t sequence_id, stage::StepWork& work);
  // Blocks for the first `num_tokens` positions, into the chunk.
  void GrowBlocks(uint32_t num_tokens, DrivenSequence& sequence, stage::ChunkWork& chunk);
  absl::Status TakeIn(absl::StatusOr<stage::StepOutput> output);
  void ReturnBlocks(DrivenSequence& sequence);

  StageGroup* const group_;
  std::vector<uint32_t> free_blocks_;
  std::map<uint32_t, int> num_holders_;  // of blocks that are not free
  std::map<uint64_t, DrivenSequence> sequences_;
  std::vector<uint64_t> finished_;
  uint64_t last_id_ = 0;
};

}  // namespace baton::fakes
