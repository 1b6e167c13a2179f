#include "kernels/cuda/plan/router_plan.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/kernels/cuda/walked_launches.h"

namespace baton::kernels::cuda {
namespace {

RouterParams ParamsOf(const ModelShape& model) {
  return {.num_experts = model.experts,
          .num_groups = model.groups,
          .num_kept_groups = model.kept_groups,
          .top_k = model.top_k};
}

TEST(RouterPlan, LaunchesOfEveryModelFitTheDevice) {
  for (const ModelShape& model : kModelShapes) {
    for (const int64_t tokens : kStepTokens) {
      ExpectFits(model.name, RouterLaunch(tokens, ParamsOf(model)));
    }
    ExpectFits(model.name, SortLaunch(model.experts));
  }
  ExpectFits("sum", SortSumLaunch());
}

TEST(RouterPlan, NothingIsLaunchedForNothing) {
  EXPECT_TRUE(RouterLaunch(0, ParamsOf(kModelShapes[0])).empty());
  EXPECT_TRUE(SortLaunch(0).empty());
}

TEST(RouterPlan, MoreExpertsThanSharedMemoryHoldsAreRefused) {
  RouterParams params = {.num_experts = 1024};
  EXPECT_TRUE(CheckLaunch("router", RouterLaunch(1, params), kAnyDevice).ok());
  params.num_experts = 2048;
  EXPECT_FALSE(CheckLaunch("router", RouterLaunch(1, params), kAnyDevice).ok());
}

TEST(RouterPlan, EveryTokenHasAWarp) {
  for (const int64_t tokens : {1, 3, 4, 5, 127, 8192}) {
    Visits lanes(tokens * kWarpThreads);
    ForEachThread(RouterLaunch(tokens, ParamsOf(kModelShapes[0])), [&](const LaunchThread& thread) {
      const int64_t token = RouterToken(thread);
      if (token < tokens) lanes.Add(token * kWarpThreads + thread.lane());
    });
    lanes.ExpectOnceEach("lanes of tokens");
  }
}

TEST(RouterPlan, LanesLookAtEveryExpertOnce) {
  for (const int64_t count : {1, 8, 16, 31, 32, 33, 256, 1000}) {
    Visits experts(count);
    for (int lane = 0; lane < kWarpThreads; ++lane) {
      for (const int32_t e : OfLane({.index = 3 * kWarpThreads + lane}, count)) experts.Add(e);
    }
    experts.ExpectOnceEach("experts");
  }
}

// Bytes of a block's shared memory that its warps write, each byte once.
TEST(RouterPlan, ListsOfWarpsLieApartInSharedMemory) {
  const RouterParams odd = {.num_experts = 15, .num_groups = 3, .num_kept_groups = 2, .top_k = 2};
  for (const RouterParams& params : {ParamsOf(kModelShapes[0]), ParamsOf(kModelShapes[2]), odd}) {
    const RouterMemory memory = RouterMemoryOf(params);
    EXPECT_EQ(memory.bytes % 16, 0);
    const int64_t room = RouterLaunch(1, params).shared_bytes;
    std::vector<int> bytes(static_cast<size_t>(room));
    const auto take = [&](int64_t begin, int64_t size) {
      ASSERT_LE(begin + size, room);
      for (int64_t i = begin; i < begin + size; ++i) ++bytes[static_cast<size_t>(i)];
    };
    for (int64_t warp = 0; warp < kRouterWarps; ++warp) {
      const int64_t base = warp * memory.bytes;
      take(base + memory.scores, params.num_experts * 4);
      take(base + memory.choices, params.num_experts * 4);
      take(base + memory.groups, params.num_groups * 4);
      take(base + memory.taken, std::max(params.num_experts, params.num_groups));
      for (const int64_t list : {memory.scores, memory.choices, memory.groups}) {
        EXPECT_EQ((base + list) % 4, 0);
      }
    }
    EXPECT_EQ(std::count_if(bytes.begin(), bytes.end(), [](int count) { return count > 1; }), 0);
  }
}

TEST(RouterPlan, GroupsHoldEveryExpertOnce) {
  for (const ModelShape& model : kModelShapes) {
    const RouterParams params = ParamsOf(model);
    EXPECT_EQ(GroupSize(params) * params.num_groups, params.num_experts) << model.name;
  }
}

TEST(RouterPlan, TheSortLooksAtEverySlotForEveryExpertOnce) {
  for (const int64_t experts : {1, 7, 8, 16, 256}) {
    for (const int64_t slots : {0, 1, 31, 32, 33, 2048}) {
      Visits looks(experts * slots);
      ForEachThread(SortLaunch(experts), [&](const LaunchThread& thread) {
        const int64_t expert = SortExpert(thread);
        if (expert >= experts) return;
        for (const int64_t begin : SortRounds(slots)) {
          const int64_t slot = begin + thread.lane();
          if (slot < slots) looks.Add(expert * slots + slot);
        }
      });
      looks.ExpectOnceEach("slots of experts");
    }
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
