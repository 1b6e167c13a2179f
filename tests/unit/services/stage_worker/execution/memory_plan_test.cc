#include "services/stage_worker/execution/memory_plan.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

constexpr MemoryPlan kPlan{
    .memory_bytes = 1000, .weight_bytes = 500, .workspace_bytes = 200, .kv_block_bytes = 40};

TEST(DivideMemory, GivesTheRestToBlocks) {
  const auto plan = DivideMemory(kPlan, 2, 0);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->num_blocks, 7);
}

TEST(DivideMemory, GivesWhatIsWanted) {
  const auto plan = DivideMemory(kPlan, 2, 3);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->num_blocks, 3);
}

TEST(DivideMemory, RefusesWithTheFigures) {
  for (const absl::Status& status :
       {DivideMemory(kPlan, 8, 0).status(), DivideMemory(kPlan, 2, 8).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("1000 bytes"));
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("8 are needed"));
  }
}

TEST(DivideMemory, FindsNoRoomWhenWeightsTakeMore) {
  MemoryPlan plan = kPlan;
  plan.weight_bytes = 2000;
  EXPECT_EQ(DivideMemory(plan, 1, 0).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace baton::stage
