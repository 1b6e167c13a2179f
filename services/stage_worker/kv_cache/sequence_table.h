// What this stage knows of each live sequence: a cache of what the scheduler said, nothing of its
// own.
//
//   unknown --new--> known (next position to compute: behind what is cached)
//   known --chunk [begin, begin + n)--> known (next position: begin + n)
//   known --new--> known afresh (a preempted sequence comes back);  known --finished--> unknown
//
// A chunk may end with drafts: guesses that the step itself checks. The next chunk begins behind
// those of them that were right, which it repeats as appended tokens; what the others left in the
// cache is written again.
//
// A token that is fed back from one step to another is never told. The stage that draws learns it
// from itself (LearnToken), because penalties need it; no other stage looks at it again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

#include "services/stage_worker/kv_cache/block_uses.h"
#include "services/stage_worker/kv_cache/step_batch.h"
#include "services/stage_worker/kv_cache/step_checks.h"
#include "services/stage_worker/kv_cache/step_work.h"

namespace baton::stage {

class SequenceTable final {
 public:
  explicit SequenceTable(const SequenceLimits& limits) : limits_(limits) {}

  // Forgets all sequences; block ids run below `num_blocks` from now on.
  void Reset(int64_t num_blocks);

  // Takes the step in: forgets finished sequences, learns new ones, extends continued ones, and
  // lays out the rows. Errors: InvalidArgument naming sequence and value, for an unknown sequence,
  // a gap or overlap in positions, too few or too many blocks, a block that is shared before it is
  // full or written while others hold it, and everything that CheckStep refuses. After an error the
  // table is as before.
  absl::StatusOr<std::unique_ptr<StepBatch>> Apply(const StepWork& work);

  // The stage drew `token` at `position` of a sequence; if the scheduler leaves it to the stages to
  // know it, which it may do before or after, it is known here. A sequence that is gone, or knows
  // the token, is as before.
  void LearnToken(uint64_t sequence_id, uint32_t position, uint32_t token);

  int64_t num_sequences() const { return static_cast<int64_t>(sequences_.size()); }
  // Blocks in the tables of known sequences; a block that several share counts once.
  int64_t num_held_blocks() const { return block_uses_.num_held(); }

  // Threads: one caller at a time.

 private:
  struct Sequence {
    std::vector<uint32_t> tokens;             // 0 where the token is not known
    std::vector<uint32_t> unknown_positions;  // kept by the stage that draws
    // The token behind the last one, if it was drawn before the step that computes it came.
    std::optional<uint32_t> next_token;
    uint64_t sample_step_id = 0;  // the newest step that samples; 0: none
    uint32_t num_prompt_tokens = 0;
    uint32_t num_computed = 0;     // positions in the cache, without drafts
    std::vector<uint32_t> drafts;  // of the last chunk, computed behind them
    std::vector<uint32_t> blocks;
    std::shared_ptr<const SamplingSettings> sampling;
  };

  // Length, next position and so on of a sequence as a chunk of this step finds it.
  struct Standing;

  absl::Status CheckAgainstTable(const StepWork& work, BlockUsesDraft* uses) const;
  absl::Status CheckChunk(const ChunkWork& chunk, const Standing& standing) const;
  static absl::Status UseBlocks(const ChunkWork& chunk, const Standing& standing,
                                BlockUsesDraft* uses);
  void Learn(const NewSequenceWork& work);
  static absl::Status CheckBegin(const ChunkWork& chunk, const Standing& standing);
  absl::Status CheckFeedback(const ChunkWork& chunk, const Standing& standing) const;
  void Extend(Sequence& sequence, const ChunkWork& chunk, uint64_t step_id);
  bool drafts() const { return limits_.draws && limits_.max_drafts > 0; }
  // Of its block table, what a step with `chunk` may look at.
  int64_t NumBlocksOf(const Sequence& sequence, const ChunkWork& chunk) const;
  void AddDraws(const Sequence& sequence, const ChunkWork& chunk, StepBatch& batch) const;
  void AddRows(const Sequence& sequence, const ChunkWork& chunk, int32_t sequence_row,
               StepBatch& batch) const;
  // Of the rows of the chunk, the last ones so far, those that attend in the expanded form: which,
  // depends on position and length of the prompt alone.
  void AddExpandedRows(const Sequence& sequence, const ChunkWork& chunk, StepBatch& batch) const;
  void AddFedRow(const Sequence& sequence, const ChunkWork& chunk, StepBatch& batch) const;
  static void AddPromptScores(const Sequence& sequence, const ChunkWork& chunk, StepBatch& batch);

  const SequenceLimits limits_;
  BlockUses block_uses_;
  absl::flat_hash_map<uint64_t, Sequence> sequences_;
};

}  // namespace baton::stage
