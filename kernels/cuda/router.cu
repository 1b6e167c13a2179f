#include "common/log/check.h"
#include "kernels/api/reproducible_math.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/router.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kRouterWarps = 4;  // tokens of a block
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

// The best of those that `taken` does not name, the same in every lane. Lane l looks at l, l + 32,
// ...
__device__ Choice BestOf(const float* values, const bool* taken, int32_t count, int lane) {
  Choice best = {0.0f, INT32_MAX};
  for (int32_t i = lane; i < count; i += 32) {
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

// A warp's working memory: scores and choices of all experts, values of all groups, marks of what
// was taken.
__host__ __device__ int64_t RouterWarpBytes(const RouterParams& params) {
  const int64_t bytes = (2 * params.num_experts + params.num_groups) * 4 + params.num_experts;
  return (bytes + 15) / 16 * 16;
}

struct RouterMemory {
  __device__ RouterMemory(char* memory, const RouterParams& params)
      : scores(reinterpret_cast<float*>(memory)),
        choices(scores + params.num_experts),
        groups(choices + params.num_experts),
        taken(reinterpret_cast<bool*>(groups + params.num_groups)) {}

  float* scores;
  float* choices;
  float* groups;
  bool* taken;  // of groups first, then of experts
};

// Experts outside the best groups count as 0.
__device__ void KeepBestGroups(const RouterParams& params, const RouterMemory& memory, int lane) {
  const int32_t size = static_cast<int32_t>(params.num_experts / params.num_groups);
  for (int32_t g = lane; g < params.num_groups; g += 32) {
    memory.groups[g] = TopTwoSum(memory.choices + g * size, size);
    memory.taken[g] = false;
  }
  __syncwarp();
  for (int64_t kept = 0; kept < params.num_kept_groups; ++kept) {
    const Choice best =
        BestOf(memory.groups, memory.taken, static_cast<int32_t>(params.num_groups), lane);
    __syncwarp();
    if (lane == 0) memory.taken[best.index] = true;
    __syncwarp();
  }
  for (int32_t e = lane; e < params.num_experts; e += 32) {
    if (!memory.taken[e / size]) memory.choices[e] = 0.0f;
  }
  __syncwarp();
}

// One warp per token.
__global__ void __launch_bounds__(kRouterWarps * 32)
    SelectKernel(const float* logits, int64_t logits_stride, const float* bias, RouterParams params,
                 int64_t tokens, const int32_t* sequence_rows, int32_t* experts, float* weights) {
  extern __shared__ __align__(16) char router_memory[];
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int64_t token = int64_t{blockIdx.x} * kRouterWarps + warp;
  if (token >= tokens) return;
  if (sequence_rows != nullptr && sequence_rows[token] < 0) {  // padding of a graph
    for (int64_t slot = lane; slot < params.top_k; slot += 32) {
      experts[token * params.top_k + slot] = -1;
      weights[token * params.top_k + slot] = 0.0f;
    }
    return;
  }
  const RouterMemory memory(router_memory + warp * RouterWarpBytes(params), params);
  const auto count = static_cast<int32_t>(params.num_experts);
  for (int32_t e = lane; e < count; e += 32) {
    memory.scores[e] = Sigmoid(logits[token * logits_stride + e]);
    memory.choices[e] = memory.scores[e] + bias[e];
  }
  __syncwarp();
  if (params.num_kept_groups < params.num_groups) KeepBestGroups(params, memory, lane);
  for (int32_t e = lane; e < count; e += 32) memory.taken[e] = false;
  __syncwarp();
  float sum = 0.0f;
  for (int64_t slot = 0; slot < params.top_k; ++slot) {
    const Choice best = BestOf(memory.choices, memory.taken, count, lane);
    __syncwarp();
    if (lane == 0) {
      memory.taken[best.index] = true;
      experts[token * params.top_k + slot] = best.index;
      weights[token * params.top_k + slot] = memory.scores[best.index];
    }
    sum += memory.scores[best.index];
    __syncwarp();
  }
  for (int64_t slot = lane; slot < params.top_k; slot += 32) {
    float& weight = weights[token * params.top_k + slot];
    const float share = params.normalize ? weight / (sum + 1e-20f) : weight;
    weight = share * params.scaling_factor;
  }
}

constexpr int kSortWarps = 8;  // experts of a block

// Slots of the warp's expert in [0, count): `visit` gets each group of 32 slots' ballot.
template <typename Visit>
__device__ void ForSlotsOf(const int32_t* experts, int64_t count, int32_t expert, int lane,
                           const Visit& visit) {
  for (int64_t begin = 0; begin < count; begin += 32) {
    const int64_t slot = begin + lane;
    const bool mine = slot < count && experts[slot] == expert;
    const unsigned ballot = __ballot_sync(kAllLanes, mine);
    if (ballot != 0) visit(slot, mine, ballot);
  }
}

// offsets[e + 1] = slots of expert e; one warp per expert.
__global__ void __launch_bounds__(kSortWarps * 32)
    CountSlotsKernel(const int32_t* experts, int64_t count, int64_t num_experts, int32_t* offsets) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t expert = int64_t{blockIdx.x} * kSortWarps + threadIdx.x / 32;
  if (expert >= num_experts) return;
  int32_t size = 0;
  ForSlotsOf(experts, count, static_cast<int32_t>(expert), lane,
             [&](int64_t, bool, unsigned ballot) { size += __popc(ballot); });
  if (lane == 0) offsets[expert + 1] = size;
  if (lane == 0 && expert == 0) offsets[0] = 0;
}

// Sizes to ends, by one thread: a few hundred additions.
__global__ void SumSlotsKernel(int64_t num_experts, int32_t* offsets) {
  int32_t end = 0;
  for (int64_t e = 1; e <= num_experts; ++e) {
    end += offsets[e];
    offsets[e] = end;
  }
}

__global__ void __launch_bounds__(kSortWarps * 32)
    PlaceSlotsKernel(const int32_t* experts, int64_t count, int64_t num_experts,
                     const int32_t* offsets, int32_t* sorted) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t expert = int64_t{blockIdx.x} * kSortWarps + threadIdx.x / 32;
  if (expert >= num_experts) return;
  int32_t place = offsets[expert];
  ForSlotsOf(experts, count, static_cast<int32_t>(expert), lane,
             [&](int64_t slot, bool mine, unsigned ballot) {
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
  if (tokens == 0) return;
  const auto shared = static_cast<size_t>(kRouterWarps * RouterWarpBytes(params));
  BATON_CHECK(shared <= size_t{48} << 10) << params.num_experts << " experts";
  SelectKernel<<<static_cast<unsigned>((tokens + kRouterWarps - 1) / kRouterWarps),
                 kRouterWarps * 32, shared, stream>>>(
      static_cast<const float*>(args.logits.data), args.logits.row_stride,
      static_cast<const float*>(args.bias.data), params, tokens,
      args.sequence_rows.empty() ? nullptr : args.sequence_rows.data(), args.experts.data(),
      args.weights.data());
  CheckCuda(cudaGetLastError(), "SelectExperts");
}

void LaunchSortSlots(std::span<const int32_t> experts, int64_t num_experts, int32_t* offsets,
                     int32_t* sorted, cudaStream_t stream) {
  const auto count = static_cast<int64_t>(experts.size());
  const auto blocks = static_cast<unsigned>((num_experts + kSortWarps - 1) / kSortWarps);
  CountSlotsKernel<<<blocks, kSortWarps * 32, 0, stream>>>(experts.data(), count, num_experts,
                                                           offsets);
  SumSlotsKernel<<<1, 1, 0, stream>>>(num_experts, offsets);
  PlaceSlotsKernel<<<blocks, kSortWarps * 32, 0, stream>>>(experts.data(), count, num_experts,
                                                           offsets, sorted);
  CheckCuda(cudaGetLastError(), "sort of slots");
}

}  // namespace baton::kernels::cuda
