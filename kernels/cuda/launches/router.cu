#include "common/log/check.h"
#include "kernels/api/reproducible_math.h"
#include "kernels/cuda/launches/planned_launch.cuh"
#include "kernels/cuda/launches/router.h"
#include "kernels/cuda/plan/router_plan.h"

namespace baton::kernels::cuda {
namespace {

constexpr unsigned kAllLanes = 0xffffffffu;

// A candidate; ties go to the lower index.
struct Choice {
  float value;
  int32_t index;  // no candidate: the largest int32
};

__device__ bool Precedes(const Choice& a, const Choice& b) {
  if (a.index == INT32_MAX || b.index == INT32_MAX) return a.index < b.index;
  return a.value != b.value ? a.value > b.value : a.index < b.index;
}

// The best of those that `taken` does not name, the same in every lane.
__device__ Choice BestOf(const float* values, const bool* taken, int64_t count,
                         const LaunchThread& thread) {
  Choice best = {0.0f, INT32_MAX};
  for (const int32_t i : OfLane(thread, count)) {
    const Choice other = {values[i], i};
    if (!taken[i] && Precedes(other, best)) best = other;
  }
  for (int distance = 16; distance > 0; distance /= 2) {
    const Choice other = {__shfl_xor_sync(kAllLanes, best.value, distance),
                          __shfl_xor_sync(kAllLanes, best.index, distance)};
    if (Precedes(other, best)) best = other;
  }
  return best;
}

// The two largest values of a group, the larger first added to 0 and then the other.
__device__ float TopTwoSum(const float* values, int32_t size) {
  float first = values[0];
  if (size == 1) return first;
  float second = values[1];
  if (second > first) {
    const float swapped = first;
    first = second;
    second = swapped;
  }
  for (int32_t i = 2; i < size; ++i) {
    if (values[i] > first) {
      second = first;
      first = values[i];
    } else if (values[i] > second) {
      second = values[i];
    }
  }
  return first + second;
}

// A warp's working memory (RouterMemory).
struct WarpLists {
  __device__ WarpLists(char* memory, const RouterMemory& layout)
      : scores(reinterpret_cast<float*>(memory + layout.scores)),
        choices(reinterpret_cast<float*>(memory + layout.choices)),
        groups(reinterpret_cast<float*>(memory + layout.groups)),
        taken(reinterpret_cast<bool*>(memory + layout.taken)) {}

  float* scores;
  float* choices;
  float* groups;
  bool* taken;
};

// Experts outside the best groups count as 0.
__device__ void KeepBestGroups(const RouterParams& params, const WarpLists& memory,
                               const LaunchThread& thread) {
  const int32_t size = GroupSize(params);
  for (const int32_t g : OfLane(thread, params.num_groups)) {
    memory.groups[g] = TopTwoSum(memory.choices + g * size, size);
    memory.taken[g] = false;
  }
  __syncwarp();
  for (int64_t kept = 0; kept < params.num_kept_groups; ++kept) {
    const Choice best = BestOf(memory.groups, memory.taken, params.num_groups, thread);
    __syncwarp();
    if (thread.lane() == 0) memory.taken[best.index] = true;
    __syncwarp();
  }
  for (const int32_t e : OfLane(thread, params.num_experts)) {
    if (!memory.taken[e / size]) memory.choices[e] = 0.0f;
  }
  __syncwarp();
}

// One warp per token.
__global__ void __launch_bounds__(kRouterWarps* kWarpThreads)
    SelectKernel(const float* logits, int64_t logits_stride, const float* bias, RouterParams params,
                 int64_t tokens, const int32_t* sequence_rows, int32_t* experts, float* weights) {
  extern __shared__ __align__(16) char router_memory[];
  const LaunchThread thread = ThisThread();
  const int64_t token = RouterToken(thread);
  if (token >= tokens) return;
  if (sequence_rows != nullptr && sequence_rows[token] < 0) {  // padding of a graph
    for (const int32_t slot : OfLane(thread, params.top_k)) {
      experts[token * params.top_k + slot] = -1;
      weights[token * params.top_k + slot] = 0.0f;
    }
    return;
  }
  const RouterMemory layout = RouterMemoryOf(params);
  const WarpLists memory(router_memory + thread.warp() * layout.bytes, layout);
  for (const int32_t e : OfLane(thread, params.num_experts)) {
    memory.scores[e] = Sigmoid(logits[token * logits_stride + e]);
    memory.choices[e] = memory.scores[e] + bias[e];
  }
  __syncwarp();
  if (params.num_kept_groups < params.num_groups) KeepBestGroups(params, memory, thread);
  for (const int32_t e : OfLane(thread, params.num_experts)) memory.taken[e] = false;
  __syncwarp();
  float sum = 0.0f;
  for (int64_t slot = 0; slot < params.top_k; ++slot) {
    const Choice best = BestOf(memory.choices, memory.taken, params.num_experts, thread);
    __syncwarp();
    if (thread.lane() == 0) {
      memory.taken[best.index] = true;
      experts[token * params.top_k + slot] = best.index;
      weights[token * params.top_k + slot] = memory.scores[best.index];
    }
    sum += memory.scores[best.index];
    __syncwarp();
  }
  for (const int32_t slot : OfLane(thread, params.top_k)) {
    float& weight = weights[token * params.top_k + slot];
    const float share = params.normalize ? weight / (sum + 1e-20f) : weight;
    weight = share * params.scaling_factor;
  }
}

// Slots of the warp's expert in [0, count): `visit` gets each group of 32 slots' ballot.
template <typename Visit>
__device__ void ForSlotsOf(const int32_t* experts, int64_t count, int64_t expert, int lane,
                           const Visit& visit) {
  for (const int64_t begin : SortRounds(count)) {
    const int64_t slot = begin + lane;
    const bool mine = slot < count && experts[slot] == expert;
    const unsigned ballot = __ballot_sync(kAllLanes, mine);
    if (ballot != 0) visit(slot, mine, ballot);
  }
}

// offsets[e + 1] = slots of expert e; one warp per expert.
__global__ void __launch_bounds__(kSortWarps* kWarpThreads)
    CountSlotsKernel(const int32_t* experts, int64_t count, int64_t num_experts, int32_t* offsets) {
  const LaunchThread thread = ThisThread();
  const int64_t expert = SortExpert(thread);
  if (expert >= num_experts) return;
  int32_t size = 0;
  ForSlotsOf(experts, count, expert, thread.lane(),
             [&](int64_t, bool, unsigned ballot) { size += __popc(ballot); });
  if (thread.lane() == 0) offsets[expert + 1] = size;
  if (thread.lane() == 0 && expert == 0) offsets[0] = 0;
}

// Sizes to ends, by one thread: a few hundred additions.
__global__ void SumSlotsKernel(int64_t num_experts, int32_t* offsets) {
  if (threadIdx.x != 0) return;
  int32_t end = 0;
  for (int64_t e = 1; e <= num_experts; ++e) {
    end += offsets[e];
    offsets[e] = end;
  }
}

__global__ void __launch_bounds__(kSortWarps* kWarpThreads)
    PlaceSlotsKernel(const int32_t* experts, int64_t count, int64_t num_experts,
                     const int32_t* offsets, int32_t* sorted) {
  const LaunchThread thread = ThisThread();
  const int64_t expert = SortExpert(thread);
  if (expert >= num_experts) return;
  const int lane = thread.lane();
  int32_t place = offsets[expert];
  ForSlotsOf(experts, count, expert, lane, [&](int64_t slot, bool mine, unsigned ballot) {
    const int before = __popc(ballot & ((1u << lane) - 1u));
    if (mine) sorted[place + before] = static_cast<int32_t>(slot);
    place += __popc(ballot);
  });
}

}  // namespace

void LaunchSelectExperts(const SelectExpertsArgs& args, cudaStream_t stream) {
  const RouterParams& params = args.params;
  const int64_t tokens = args.logits.rows;
  BATON_CHECK(args.logits.columns == params.num_experts && args.bias.columns == params.num_experts);
  BATON_CHECK(params.num_groups >= 1 && params.num_experts % params.num_groups == 0);
  BATON_CHECK(params.num_kept_groups >= 1 && params.num_kept_groups <= params.num_groups);
  BATON_CHECK(params.top_k >= 1 && params.top_k <= params.num_experts);
  BATON_CHECK(static_cast<int64_t>(args.experts.size()) >= tokens * params.top_k &&
              static_cast<int64_t>(args.weights.size()) >= tokens * params.top_k);
  const int32_t* sequence_rows = args.sequence_rows.empty() ? nullptr : args.sequence_rows.data();
  LaunchPlanned("SelectExperts", SelectKernel, RouterLaunch(tokens, params), stream,
                static_cast<const float*>(args.logits.data), args.logits.row_stride,
                static_cast<const float*>(args.bias.data), params, tokens, sequence_rows,
                args.experts.data(), args.weights.data());
}

void LaunchSortSlots(std::span<const int32_t> experts, int64_t num_experts, int32_t* offsets,
                     int32_t* sorted, cudaStream_t stream) {
  const auto count = static_cast<int64_t>(experts.size());
  const LaunchShape shape = SortLaunch(num_experts);
  LaunchPlanned("count of slots", CountSlotsKernel, shape, stream, experts.data(), count,
                num_experts, offsets);
  LaunchPlanned("sum of slots", SumSlotsKernel, SortSumLaunch(), stream, num_experts, offsets);
  LaunchPlanned("sort of slots", PlaceSlotsKernel, shape, stream, experts.data(), count,
                num_experts, offsets, sorted);
}

}  // namespace baton::kernels::cuda
