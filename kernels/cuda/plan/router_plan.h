// Launches of the choice of experts and of the sort of its slots, and who looks at what.
#pragma once

#include <cstdint>

#include "kernels/api/router.h"
#include "kernels/cuda/plan/launch_shape.h"
#include "kernels/cuda/plan/launch_thread.h"

namespace baton::kernels::cuda {

// A warp per token. Warps may lie behind the last token.
inline constexpr int kRouterWarps = 4;

// A warp's part of shared memory, in bytes from its beginning: scores and choices of all experts
// and values of all groups in float32; marks of what was taken, of groups first and then of
// experts.
struct RouterMemory {
  int64_t scores = 0;
  int64_t choices;
  int64_t groups;
  int64_t taken;
  int64_t bytes;  // a multiple of 16
};
BATON_HOST_DEVICE constexpr RouterMemory RouterMemoryOf(const RouterParams& params) {
  RouterMemory memory = {};
  memory.choices = params.num_experts * 4;
  memory.groups = memory.choices + params.num_experts * 4;
  memory.taken = memory.groups + params.num_groups * 4;
  memory.bytes = (memory.taken + params.num_experts + 15) / 16 * 16;
  return memory;
}

constexpr LaunchShape RouterLaunch(int64_t tokens, const RouterParams& params) {
  return {.grid_x = NumBlocks(tokens, kRouterWarps),
          .block = kRouterWarps * kWarpThreads,
          .shared_bytes = kRouterWarps * RouterMemoryOf(params).bytes};
}
BATON_HOST_DEVICE constexpr int64_t RouterToken(const LaunchThread& thread) {
  return thread.block_x * kRouterWarps + thread.warp();
}
// What a lane looks at, of `count`.
BATON_HOST_DEVICE constexpr Steps<int32_t> OfLane(const LaunchThread& thread, int64_t count) {
  return {thread.lane(), kWarpThreads, static_cast<int32_t>(count)};
}
// Experts of a group: those from group * GroupSize on.
BATON_HOST_DEVICE constexpr int32_t GroupSize(const RouterParams& params) {
  return static_cast<int32_t>(params.num_experts / params.num_groups);
}

// Sort of slots by expert: a warp per expert, to count its slots and to place them; one thread adds
// up between the two. Warps may lie behind the last expert.
inline constexpr int kSortWarps = 8;

constexpr LaunchShape SortLaunch(int64_t num_experts) {
  return {.grid_x = NumBlocks(num_experts, kSortWarps), .block = kSortWarps * kWarpThreads};
}
constexpr LaunchShape SortSumLaunch() { return {.block = kWarpThreads}; }
BATON_HOST_DEVICE constexpr int64_t SortExpert(const LaunchThread& thread) {
  return thread.block_x * kSortWarps + thread.warp();
}
// Where groups of slots begin that a warp looks at together, a slot per lane.
BATON_HOST_DEVICE constexpr Steps<int64_t> SortRounds(int64_t num_slots) {
  return {0, kWarpThreads, num_slots};
}

}  // namespace baton::kernels::cuda
