#include "services/stage_worker/model/step_graph.h"

#include <algorithm>

#include "common/log/check.h"
#include "kernels/api/graph_buckets.h"

namespace baton::stage {
namespace {

// Tables of 1024 tokens, then four times as wide each: attention finds its work by positions, so a
// wide table costs memory alone.
constexpr int64_t kNarrowestTable = 16;
constexpr int64_t kWidening = 4;
// Most entries of a graph's tables: 256 rows of 16384 tokens. Beyond them reading the keys takes
// far longer than launches, and attention would have to be prepared for more than most steps need.
constexpr int64_t kMostEntries = int64_t{1} << 16;

int64_t TableWidthFor(int64_t max_blocks, int64_t most) {
  int64_t width = kNarrowestTable;
  while (width < max_blocks) width *= kWidening;
  return std::min(width, most);
}

}  // namespace

std::optional<GraphShape> GraphFor(int64_t num_rows, int64_t max_blocks,
                                   const GraphLimits& limits) {
  if (num_rows < 1 || max_blocks > limits.max_blocks) return std::nullopt;
  const std::optional<int64_t> rows = kernels::GraphBucketFor(num_rows, limits.max_rows);
  if (!rows.has_value()) return std::nullopt;
  const GraphShape graph = {*rows, TableWidthFor(max_blocks, limits.max_blocks)};
  if (graph.num_rows * graph.max_blocks > kMostEntries) return std::nullopt;
  return graph;
}

std::vector<GraphShape> AllGraphs(const GraphLimits& limits) {
  std::vector<GraphShape> graphs;
  for (const int64_t rows : kernels::GraphBuckets()) {
    if (rows > limits.max_rows) break;
    for (int64_t blocks = 1; blocks <= limits.max_blocks;) {
      const std::optional<GraphShape> graph = GraphFor(rows, blocks, limits);
      if (!graph.has_value()) break;
      graphs.push_back(*graph);
      blocks = graph->max_blocks + 1;
    }
  }
  std::reverse(graphs.begin(), graphs.end());
  return graphs;
}

PaddedRows PadRows(const StepBatch& batch, const GraphShape& graph) {
  BATON_CHECK(batch.num_tokens() <= graph.num_rows && batch.max_blocks <= graph.max_blocks);
  const auto num_rows = static_cast<size_t>(graph.num_rows);
  PaddedRows rows{batch.token_ids, batch.positions, batch.sequence_rows, {}};
  rows.token_ids.resize(num_rows, 0);
  rows.positions.resize(num_rows, 0);
  rows.sequence_rows.resize(num_rows, -1);
  const auto width = static_cast<size_t>(graph.max_blocks);
  rows.block_tables.assign(static_cast<size_t>(batch.num_sequences()) * width, 0);
  for (size_t sequence = 0; sequence < batch.sequence_ids.size(); ++sequence) {
    const auto from =
        batch.block_tables.begin() + static_cast<int64_t>(sequence) * batch.max_blocks;
    std::copy(from, from + batch.max_blocks,
              rows.block_tables.begin() + static_cast<int64_t>(sequence * width));
  }
  return rows;
}

}  // namespace baton::stage
