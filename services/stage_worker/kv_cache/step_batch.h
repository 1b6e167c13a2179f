// One step as the devices compute it: rows laid out, nothing left to look up. Immutable once made;
// shared by the device threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "services/stage_worker/kv_cache/step_work.h"

namespace baton::stage {

// A row whose logits are needed for drawing the next token. Rows of one sequence stand together,
// positions ascending: each but the first is for the case that the one before it draws its `draft`.
struct DrawRow {
  int32_t row = 0;  // of the step
  uint64_t sequence_id = 0;
  uint32_t position = 0;          // of the token to be drawn
  uint32_t depth = 0;             // drafts of the sequence that this row takes for granted
  std::optional<uint32_t> draft;  // what the next row takes for drawn here
  std::shared_ptr<const SamplingSettings> sampling;
  bool masked = false;                  // sampling->masked_token_ids cannot be drawn here
  std::vector<uint32_t> prompt_tokens;  // only if sampling->needs_prompt()
  std::vector<uint32_t> answer_tokens;  // only if sampling->needs_history()
};

// Consecutive rows [row_begin, row_begin + targets.size()) whose logits score the next prompt
// tokens.
struct ScoreRows {
  int32_t row_begin = 0;
  uint64_t sequence_id = 0;
  uint32_t position_begin = 0;    // of the first target in its sequence
  std::vector<uint32_t> targets;  // the token that stands after each row
  uint32_t num_top = 0;
};

// A row whose token an earlier step samples: not known yet when the step was commanded.
struct FedRow {
  int32_t row = 0;  // of the step; 0 stands in its place until it is filled in
  uint64_t sequence_id = 0;
  uint64_t step_id = 0;  // that samples the token
  int32_t draw = -1;     // of draws, whose answer_tokens end with it; -1: none
};

// Rows [begin, end) of a step.
struct RowRange {
  int32_t begin = 0;
  int32_t end = 0;

  friend bool operator==(const RowRange&, const RowRange&) = default;
};

struct StepBatch {
  uint64_t epoch = 0;
  uint64_t step_id = 0;
  std::vector<uint32_t> token_ids;     // [tokens]
  std::vector<int32_t> positions;      // [tokens]
  std::vector<int32_t> sequence_rows;  // [tokens]
  // [tokens] The token behind each row; 0 where it is not known. Where the stage drafts alone.
  std::vector<uint32_t> next_token_ids;
  // [sequences] Positions that find room in its block table, of those that there are; likewise.
  std::vector<int32_t> capacities;
  std::vector<int32_t> block_tables;   // [sequences, max_blocks]
  int64_t max_blocks = 0;              // >= 1
  std::vector<uint64_t> sequence_ids;  // [sequences]
  std::vector<DrawRow> draws;          // in the order of the command
  // Rows of prompts that attend in the expanded form; ascending, none next to another.
  std::vector<RowRange> expanded_rows;
  std::vector<ScoreRows> prompt_scores;  // in the order of the command
  std::vector<FedRow> fed_rows;          // in the order of the command

  int64_t num_tokens() const { return static_cast<int64_t>(token_ids.size()); }
  int64_t num_sequences() const { return static_cast<int64_t>(sequence_ids.size()); }
};

}  // namespace baton::stage
