#include "services/stage_worker/kv_cache/kv_cache.h"

#include <memory>

#include "gtest/gtest.h"

#include "kernels/reference/reference_backend.h"

namespace baton::stage {
namespace {

TEST(KvCacheShape, CountsBytesAsTheModelNeedsThem) {
  ModelConfig config;
  config.kv_lora_rank = 512;
  config.qk_rope_head_dim = 64;
  // DeepSeek-R1 in bfloat16: 70,272 bytes a token over 61 layers.
  EXPECT_EQ(KvShapeOf(config, 61, DataType::kBFloat16).block_bytes(), 64u * 70272u);
}

TEST(KvCache, GivesEachLayerItsPages) {
  const kernels::Team team = *kernels::CreateReferenceBackend()->CreateTeam(1, 1);
  const KvCacheShape shape{2, 8, 4, DataType::kFloat32};
  const auto cache = KvCache::Create(shape, 3, team.devices[0].ops.get());
  ASSERT_TRUE(cache.ok());
  EXPECT_EQ((*cache)->bytes(), 3u * 2u * 64u * 12u * 4u);
  const kernels::KvPages first = (*cache)->Layer(0);
  EXPECT_EQ(first.pages.rows, 3 * 64);
  EXPECT_EQ(first.pages.columns, 12);
  EXPECT_NE(first.pages.data, (*cache)->Layer(1).pages.data);
  first.pages.Row<float>(3 * 64 - 1)[11] = 1.0f;  // the last element is there
}

TEST(KvCache, RefusesToBeEmpty) {
  const kernels::Team team = *kernels::CreateReferenceBackend()->CreateTeam(1, 1);
  EXPECT_EQ(
      KvCache::Create({2, 8, 4, DataType::kFloat32}, 0, team.devices[0].ops.get()).status().code(),
      absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton::stage
