#include "services/stage_worker/execution/memory_plan.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

using ::testing::HasSubstr;

MemoryPool Host() {
  return {.name = "host",
          .is_host = true,
          .total_bytes = 8000,
          .free_bytes = 1000,
          .weight_bytes = 500,
          .workspace_bytes = 200,
          .kv_block_bytes = 40};
}

// A GPU with nobody else on it.
MemoryPool Device(int index) {
  return {.name = "device " + std::to_string(index),
          .total_bytes = 1600,
          .free_bytes = 900,
          .weight_bytes = 500,
          .workspace_bytes = 200,
          .kv_block_bytes = 40};
}

int64_t BlocksFor(const MemoryPool& pool, const MemoryLimits& limits) {
  return DivideMemory({&pool, 1}, limits).value().num_blocks;
}

std::string RefusalOf(const std::vector<MemoryPool>& pools, const MemoryLimits& limits) {
  const absl::Status status = DivideMemory(pools, limits).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  return std::string(status.message());
}

TEST(DivideMemory, GivesTheRestToBlocks) {
  EXPECT_EQ(BlocksFor(Host(), {.memory_bytes = 1000, .min_blocks = 2}), 7);
  EXPECT_EQ(BlocksFor(Device(0), {.memory_bytes = 1000, .min_blocks = 2}), 7);
}

TEST(DivideMemory, DoesNotTakePagesOfMappedWeightsForFree) {
  EXPECT_EQ(BlocksFor(Host(), {.kv_cache_bytes = 4000, .utilization = 1.0}), 25);
  EXPECT_EQ(BlocksFor(Host(),
                      {.kv_cache_bytes = 4000, .utilization = 1.0, .evictable_weight_bytes = 600}),
            10);
  RefusalOf({Host()}, {.kv_cache_bytes = 4000, .evictable_weight_bytes = 5000});
}

TEST(DivideMemory, GivesWhatIsWanted) {
  EXPECT_EQ(BlocksFor(Host(), {.memory_bytes = 1000, .min_blocks = 2, .wanted_blocks = 3}), 3);
  EXPECT_EQ(BlocksFor(Device(0), {.min_blocks = 2, .wanted_blocks = 3}), 3);
}

TEST(DivideMemory, GivesTheKvCacheNoMoreThanSaid) {
  EXPECT_EQ(BlocksFor(Host(), {.kv_cache_bytes = 200}), 5);
  EXPECT_EQ(BlocksFor(Host(), {.memory_bytes = 1000, .kv_cache_bytes = 200}), 5);
  EXPECT_EQ(BlocksFor(Host(), {.memory_bytes = 1000, .kv_cache_bytes = 4000}), 7);
  EXPECT_EQ(BlocksFor(Device(0), {.kv_cache_bytes = 200}), 5);
  // Not a share of the memory then: all that is free may be given.
  EXPECT_EQ(BlocksFor(Device(0), {.kv_cache_bytes = 880}), 22);
}

TEST(DivideMemory, TakesTheShareOfADevicesMemory) {
  EXPECT_EQ(BlocksFor(Device(0), {.utilization = 0.9}), (1440 - 700) / 40);
  EXPECT_EQ(BlocksFor(Device(0), {.utilization = 0.5}), (800 - 700) / 40);
}

TEST(DivideMemory, TakesADefaultOfWhatAHostHasFree) {
  MemoryPool host = Host();
  EXPECT_EQ(BlocksFor(host, {.utilization = 0.5}), 500 / 40);
  host.free_bytes = uint64_t{64} << 30;
  EXPECT_EQ(BlocksFor(host, {}), (256 << 20) / 40);
  // One sequence needs more.
  EXPECT_EQ(BlocksFor(host, {.min_blocks = 8 << 20}), 8 << 20);
}

TEST(DivideMemory, GivesAllDevicesTheBlocksOfTheFullest) {
  std::vector<MemoryPool> pools = {Device(0), Device(1), Device(2)};
  pools[1].weight_bytes += 100;
  const auto plan = DivideMemory(pools, {.utilization = 0.75});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->num_blocks, (1200 - 800) / 40);
  EXPECT_EQ(plan->weight_bytes, 1600u);
  EXPECT_EQ(plan->workspace_bytes, 600u);
  EXPECT_EQ(plan->kv_block_bytes, 120u);
  EXPECT_EQ(plan->memory_bytes, 3600u);
}

TEST(DivideMemory, CutsWhatIsGivenEvenly) {
  const std::vector<MemoryPool> pools = {Device(0), Device(1)};
  EXPECT_EQ(DivideMemory(pools, {.memory_bytes = 2000})->num_blocks, 7);
  EXPECT_EQ(DivideMemory(pools, {.kv_cache_bytes = 400})->num_blocks, 5);
}

TEST(DivideMemory, RefusesWithTheFigures) {
  for (const MemoryLimits& limits :
       {MemoryLimits{.memory_bytes = 1000, .min_blocks = 8},
        MemoryLimits{.memory_bytes = 1000, .min_blocks = 2, .wanted_blocks = 8}}) {
    EXPECT_THAT(RefusalOf({Host()}, limits), HasSubstr("1000 bytes"));
    EXPECT_THAT(RefusalOf({Host()}, limits), HasSubstr("8 are needed"));
  }
}

TEST(DivideMemory, FindsNoRoomWhenWeightsTakeMore) {
  MemoryPool host = Host();
  host.weight_bytes = 2000;
  RefusalOf({host}, {.memory_bytes = 1000});
}

TEST(DivideMemory, NamesTheDeviceThatIsTooSmall) {
  std::vector<MemoryPool> pools = {Device(0), Device(1)};
  pools[1].workspace_bytes = 800;
  EXPECT_THAT(RefusalOf(pools, {.utilization = 0.8}), HasSubstr("device 1: memory of 1280 bytes"));
}

TEST(DivideMemory, RefusesWhatOthersHold) {
  std::vector<MemoryPool> pools = {Device(0), Device(1)};
  pools[1].free_bytes = 400;
  const std::string refusal = RefusalOf(pools, {.utilization = 0.9});
  EXPECT_THAT(refusal, HasSubstr("device 1: the stage is to use 1440 of 1600 bytes"));
  EXPECT_THAT(refusal, HasSubstr("--gpu-memory-utilization"));
  EXPECT_TRUE(DivideMemory(pools, {.utilization = 0.65}).ok());
  RefusalOf(pools, {.kv_cache_bytes = 1000});
}

}  // namespace
}  // namespace baton::stage
