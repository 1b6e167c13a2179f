#include "services/stage_worker/model/workspace.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/reference/reference_backend.h"
#include "tests/fakes/toy_model.h"

namespace baton::stage {
namespace {

WorkspaceShape Shape() {
  WorkspaceShape shape;
  shape.config = fakes::ToyConfig();
  shape.stage = {0, 3, true, true};
  shape.num_ranks = 6;
  shape.num_local_ranks = 2;
  shape.max_step_tokens = 300;
  shape.max_step_sequences = 5;
  shape.max_model_len = 130;
  return shape;
}

using Range = std::pair<const char*, const char*>;

template <typename T>
Range RangeOf(std::span<T> array) {
  const char* begin = reinterpret_cast<const char*>(array.data());
  return {begin, begin + array.size_bytes()};
}
Range RangeOf(const TensorView& tensor) {
  const char* begin = static_cast<const char*>(tensor.data);
  return {begin, begin + static_cast<size_t>(tensor.num_elements()) * SizeOf(tensor.type)};
}

TEST(Workspace, IsAsLargeAsPlannedAndDoesNotOverlap) {
  const kernels::Team team = *kernels::CreateReferenceBackend()->CreateTeam(1, 1);
  const auto space = CreateWorkspace(Shape(), team.devices[0].ops.get());
  ASSERT_TRUE(space.ok());
  EXPECT_EQ((*space)->bytes, WorkspaceBytes(Shape()));
  EXPECT_EQ((*space)->memory->bytes(), (*space)->bytes);
  const Workspace& s = **space;
  std::vector<Range> ranges = {RangeOf(s.zeros),
                               RangeOf(s.residual),
                               RangeOf(s.normed),
                               RangeOf(s.q_a),
                               RangeOf(s.kv_a),
                               RangeOf(s.q),
                               RangeOf(s.q_latent),
                               RangeOf(s.attended),
                               RangeOf(s.value),
                               RangeOf(s.parts[0]),
                               RangeOf(s.parts[1]),
                               RangeOf(s.summed),
                               RangeOf(s.router_logits),
                               RangeOf(s.experts),
                               RangeOf(s.expert_weights),
                               RangeOf(s.token_ids),
                               RangeOf(s.positions),
                               RangeOf(s.sequence_rows),
                               RangeOf(s.block_tables),
                               RangeOf(s.rotary_table),
                               RangeOf(s.head_rows),
                               RangeOf(s.logits),
                               RangeOf(s.logit_shards[0]),
                               RangeOf(s.logit_shards[1])};
  std::sort(ranges.begin(), ranges.end());
  const char* base = static_cast<const char*>(s.memory->data());
  EXPECT_EQ(ranges.front().first, base);
  EXPECT_LE(ranges.back().second, base + s.bytes);
  for (size_t i = 0; i < ranges.size(); ++i) {
    EXPECT_LT(ranges[i].first, ranges[i].second);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(ranges[i].first) % 64, 0u);
    EXPECT_LE(i > 0 ? ranges[i - 1].second : base, ranges[i].first);
  }
  EXPECT_EQ(s.block_tables.size(), 5u * 3u);
  EXPECT_EQ(s.logits.rows, kMaxLogitRows);
}

TEST(Workspace, LeavesOutWhatAStageDoesNotNeed) {
  WorkspaceShape middle = Shape();
  middle.stage = {1, 2, false, false};
  EXPECT_LT(WorkspaceBytes(middle), WorkspaceBytes(Shape()));
  const kernels::Team team = *kernels::CreateReferenceBackend()->CreateTeam(1, 1);
  const auto space = CreateWorkspace(middle, team.devices[0].ops.get());
  ASSERT_TRUE(space.ok());
  EXPECT_TRUE((*space)->logits.empty());
  EXPECT_TRUE((*space)->zeros.empty());
}

}  // namespace
}  // namespace baton::stage
