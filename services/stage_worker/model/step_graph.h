// How steps are padded, so that few graphs run them all.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "services/stage_worker/kv_cache/step_batch.h"

namespace baton::stage {

// What a graph fixes of a step: its number of rows and the width of its block tables. All else lies
// in device memory.
struct GraphShape {
  int64_t num_rows = 0;
  int64_t max_blocks = 0;

  uint64_t key() const {
    return static_cast<uint64_t>(num_rows) << 32 | static_cast<uint64_t>(max_blocks);
  }
};

struct GraphLimits {
  int64_t max_rows = 0;    // of a step
  int64_t max_blocks = 0;  // of a sequence
};

// The smallest graph that a step fits in; none for one of more rows than graphs have, a large piece
// of a prompt, and for many rows with long block tables: there launches cost nothing beside the
// work. Rows of prompts, of decodes and behind drafts are all alike to it. `max_blocks` >= 1.
std::optional<GraphShape> GraphFor(int64_t num_rows, int64_t max_blocks, const GraphLimits& limits);

// All that GraphFor gives, the largest first.
std::vector<GraphShape> AllGraphs(const GraphLimits& limits);

// The step's rows as the graph has them: rows behind the step's own are padding, of no sequence
// (-1), with token and position 0; tables as wide as the graph's.
struct PaddedRows {
  std::vector<uint32_t> token_ids;
  std::vector<int32_t> positions;
  std::vector<int32_t> sequence_rows;
  std::vector<int32_t> block_tables;
};
PaddedRows PadRows(const StepBatch& batch, const GraphShape& graph);

}  // namespace baton::stage
