// One split of latent attention on tensor cores, everything transposed so that 16 or 32 columns
// (query row, head) fill the products' N: scores S^T = K Q^T, sums O^T = V^T P^T, V the first 512
// columns of K in the same shared memory.
//
// Who does what. Warps 0..7: two warpgroups; warpgroup g takes blocks g, g + 2, ... of 64 keys of a
// split with its own running maxima and sums; at the split's end they are joined. Warps 8..11 give
// their registers to the others; one lane copies keys. Visit v of the ring (blocks counted over all
// the thread block's work) uses stage v % 2.
//   full[stage]: one arrival (ArriveExpect) and 73728 bytes of copies.
//   empty[stage]: 4 arrivals, the warps of the warpgroup that read the block, after WaitProducts<0>
//     behind its second product: nothing reads the stage any more.
// Within a block, per warpgroup (named barrier 1 + g, 128 threads):
//   products S -> wait -> [last block: zero the keys behind the end, fence] -> warps' maxima to
//   shared -> BARRIER -> maxima read, P written, fence -> BARRIER -> products O -> wait -> release.
//   The maxima's slots are written again only behind the second barrier, which their readers have
//   passed; P is written again only behind the next block's first barrier, which every warp reaches
//   after its WaitProducts<0>: the products have read P.
// Queries are written by all consumers between two barriers over 256 threads (named barrier 3)
// while no product is under way.
//
// Numerics of an element: scores in float32; p = 2^(scale log2(e) s - m) rounded to bfloat16 for
// the second product, their sums of the unrounded; blocks 0, 2, 4, 6 and 1, 3, 5, 7 of a split
// each in order, then the two, then the splits in order. A block behind a query's end changes
// nothing: its weights are 0, its maxima and factors 1. So neither rows that share a tile nor the
// schedule matter.
#pragma once

#include <cstdint>

#include "kernels/cuda/device/barrier.cuh"
#include "kernels/cuda/device/convert.cuh"
#include "kernels/cuda/device/tensor_copy.cuh"
#include "kernels/cuda/device/warpgroup_mma.cuh"
#include "kernels/cuda/mla_attention.h"
#include "kernels/cuda/plan/mla_plan.h"

namespace baton::kernels::cuda {

inline constexpr float kMinusInfinity = -__builtin_huge_valf();
inline constexpr int kConsumerBarrier = 3;

// A block's shared memory as plan/mla_plan.h draws it.
template <class Tile>
struct MlaShared {
  unsigned char* base;

  __device__ explicit MlaShared(unsigned char* dynamic)
      : base(dynamic + (kAtomBytes - SharedAddress(dynamic) % kAtomBytes) % kAtomBytes) {}
  __device__ unsigned char* keys(int stage) const { return base + stage * Tile::kStageBytes; }
  __device__ unsigned char* queries() const { return base + Tile::kQueriesOffset; }
  __device__ unsigned char* weights(int warpgroup) const {
    return base + Tile::kWeightsOffset + warpgroup * Tile::kQueryChunkBytes;
  }
  __device__ float* exchange() const { return floats(Tile::kExchangeOffset); }
  // [warp of the warpgroup][column]
  __device__ float* maxima(int warpgroup) const {
    return floats(Tile::kMaximaOffset) + warpgroup * 4 * Tile::kColumns;
  }
  __device__ float* sums(int warpgroup) const {
    return floats(Tile::kSumsOffset) + warpgroup * 4 * Tile::kColumns;
  }
  __device__ float* group_maxima(int warpgroup) const {
    return floats(Tile::kGroupMaximaOffset) + warpgroup * Tile::kColumns;
  }
  __device__ int32_t* first_split() const {
    return reinterpret_cast<int32_t*>(base + Tile::kFirstOffset);
  }
  __device__ uint64_t* full(int stage) const {
    return reinterpret_cast<uint64_t*>(base + Tile::kBarriersOffset) + stage;
  }
  __device__ uint64_t* empty(int stage) const { return full(stage) + Tile::kStages; }

 private:
  __device__ float* floats(int offset) const { return reinterpret_cast<float*>(base + offset); }
};

// A thread's share of running results. Register i of each 64-row tile of latents, and of the
// scores, belongs to slot ColumnSlot(i), one of the thread's columns.
template <class Tile>
struct MlaSums {
  float sum[kLatentTiles][Tile::kTileRegisters];
  float maximum[Tile::kColumns / 4];
  float weight[Tile::kColumns / 4];  // this thread's rows only, until the split's end
};

// Adds a later part (maximum, weight, sum) to the result so far: the factors of both sides.
struct JoinFactors {
  float maximum;
  float before;
  float added;
};
__device__ __forceinline__ JoinFactors Join(float maximum, float added_maximum) {
  const float joined = fmaxf(maximum, added_maximum);
  const float base = joined == kMinusInfinity ? 0.0f : joined;  // nothing seen on either side
  return {joined, Exp2(__fsub_rn(maximum, base)), Exp2(__fsub_rn(added_maximum, base))};
}
__device__ __forceinline__ float JoinSum(float before, float added, const JoinFactors& factors) {
  return fmaf(added, factors.added, __fmul_rn(before, factors.before));
}

template <class Tile>
__device__ __forceinline__ void ClearSums(MlaSums<Tile>& sums) {
#pragma unroll
  for (int t = 0; t < kLatentTiles; ++t) {
#pragma unroll
    for (int i = 0; i < Tile::kTileRegisters; ++i) sums.sum[t][i] = 0.0f;
  }
#pragma unroll
  for (int s = 0; s < Tile::kColumns / 4; ++s) {
    sums.maximum[s] = kMinusInfinity;
    sums.weight[s] = 0.0f;
  }
}

// Zeroes the keys from `first_token` on: whatever an earlier owner of the page left there (weights
// of 0 would not silence infinities).
template <class Tile>
__device__ __forceinline__ void ZeroKeys(unsigned char* keys, int first_token) {
  const int chunks_of_rows = (kMlaBlockTokens - first_token) * (kAtomRowBytes / 16);
  for (int i = threadIdx.x % 128; i < chunks_of_rows * kLatentTiles; i += 128) {
    const int offset = i / chunks_of_rows * Tile::kChunkBytes + first_token * kAtomRowBytes +
                       i % chunks_of_rows * 16;
    *reinterpret_cast<uint4*>(keys + offset) = make_uint4(0, 0, 0, 0);
  }
  FenceAsyncProxy();
}

// Scores of 64 keys to weights: raises the maxima, rescales what was summed, leaves the weights in
// shared memory for the second product. `last_key[s]`: the last key, counted from the block's
// first, that the slot's query sees (negative: none).
template <class Tile>
__device__ __forceinline__ void WeighScores(const MlaShared<Tile>& shared, int warpgroup,
                                            float (&score)[Tile::kTileRegisters],
                                            const int (&last_key)[Tile::kColumns / 4],
                                            float log2_scale, MlaSums<Tile>& sums) {
  constexpr int kSlots = Tile::kColumns / 4;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x % 128 / 32;
  const int key = warp * 16 + lane / 4;
  float* maxima = shared.maxima(warpgroup);
  float block_maximum[kSlots];
#pragma unroll
  for (int s = 0; s < kSlots; ++s) block_maximum[s] = kMinusInfinity;
#pragma unroll
  for (int i = 0; i < Tile::kTileRegisters; ++i) {
    const int s = ColumnSlot(i);
    score[i] = key + i % 4 / 2 * 8 <= last_key[s] ? score[i] * log2_scale : kMinusInfinity;
    block_maximum[s] = fmaxf(block_maximum[s], score[i]);
  }
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2) {  // lanes of the same columns
      block_maximum[s] =
          fmaxf(block_maximum[s], __shfl_xor_sync(0xffffffffu, block_maximum[s], offset));
    }
    if (lane < 4) maxima[warp * Tile::kColumns + SlotColumn(lane, s)] = block_maximum[s];
  }
  SyncNamed(1 + warpgroup, 128);
  float base[kSlots];
  float factor[kSlots];
  bool rescale = false;
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    float maximum = sums.maximum[s];
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      maximum = fmaxf(maximum, maxima[w * Tile::kColumns + SlotColumn(lane, s)]);
    }
    base[s] = maximum == kMinusInfinity ? 0.0f : maximum;
    factor[s] = maximum == sums.maximum[s] ? 1.0f : Exp2(sums.maximum[s] - base[s]);
    rescale = rescale || factor[s] != 1.0f;
    sums.maximum[s] = maximum;
    sums.weight[s] *= factor[s];
  }
#pragma unroll
  for (int i = 0; i < Tile::kTileRegisters; ++i) {
    score[i] = Exp2(score[i] - base[ColumnSlot(i)]);
    sums.weight[ColumnSlot(i)] += score[i];
  }
  // Register pairs (4 j + 2 h, + 1): keys 8 h on of the warp's 16, columns 8 j on.
  const uint32_t weights = SharedAddress(shared.weights(warpgroup));
#pragma unroll
  for (int j = 0; j < Tile::kColumns / 8; j += 2) {
    const WeightChunk to = StoredWeights(warp, lane, j);
    StoreTransposed(
        weights + SwizzledOffset(to.column, to.chunk * 16),
        PackBf16(score[4 * j], score[4 * j + 1]), PackBf16(score[4 * j + 2], score[4 * j + 3]),
        PackBf16(score[4 * j + 4], score[4 * j + 5]), PackBf16(score[4 * j + 6], score[4 * j + 7]));
  }
  FenceAsyncProxy();
  if (__any_sync(0xffffffffu, rescale)) {  // times 1 changes nothing
#pragma unroll
    for (int t = 0; t < kLatentTiles; ++t) {
#pragma unroll
      for (int i = 0; i < Tile::kTileRegisters; ++i) sums.sum[t][i] *= factor[ColumnSlot(i)];
    }
  }
  SyncNamed(1 + warpgroup, 128);
}

// One block of keys in `stage`. valid_keys: keys of the block that exist. All threads of the
// warpgroup.
template <class Tile>
__device__ __forceinline__ void AttendBlock(const MlaShared<Tile>& shared, int warpgroup, int stage,
                                            int valid_keys,
                                            const int (&last_key)[Tile::kColumns / 4],
                                            float log2_scale, MlaSums<Tile>& sums) {
  float score[Tile::kTileRegisters];
#pragma unroll
  for (int i = 0; i < Tile::kTileRegisters; ++i) score[i] = 0.0f;
  const uint32_t keys = SharedAddress(shared.keys(stage));
  const uint32_t queries = SharedAddress(shared.queries());
  PinRegisters(score);
  FenceProducts();
#pragma unroll
  for (int chunk = 0; chunk < Tile::kChunks; ++chunk) {
    const uint64_t a = KMajorDescriptor(keys + chunk * Tile::kChunkBytes);
    const uint64_t b = KMajorDescriptor(queries + chunk * Tile::kQueryChunkBytes);
#pragma unroll
    for (int step = 0; step < 4; ++step) {  // 16 elements: 32 bytes
      MultiplyBf16<false>(score, a + 2 * step, b + 2 * step, chunk + step != 0);
    }
  }
  CommitProducts();
  WaitProducts<0>();
  PinRegisters(score);
  if (valid_keys < kMlaBlockTokens) ZeroKeys<Tile>(shared.keys(stage), valid_keys);
  WeighScores(shared, warpgroup, score, last_key, log2_scale, sums);
#pragma unroll
  for (int t = 0; t < kLatentTiles; ++t) PinRegisters(sums.sum[t]);
  FenceProducts();
  const uint64_t b = KMajorDescriptor(SharedAddress(shared.weights(warpgroup)));
#pragma unroll
  for (int step = 0; step < 4; ++step) {  // 16 keys: two atoms of A, 32 bytes of B
#pragma unroll
    for (int t = 0; t < kLatentTiles; ++t) {
      const uint64_t a = MnMajorDescriptor(keys + t * Tile::kChunkBytes + step * 2 * kAtomBytes,
                                           Tile::kChunkBytes);
      MultiplyBf16<true>(sums.sum[t], a, b + 2 * step, true);
    }
  }
  CommitProducts();
  WaitProducts<0>();
#pragma unroll
  for (int t = 0; t < kLatentTiles; ++t) PinRegisters(sums.sum[t]);
}

// Joins the warpgroups' results of a split into the first one's registers: sums, maxima and whole
// sums of weights. All 256 consumers; on return the second's registers are free, and no consumer
// reads shared memory of the split any more.
template <class Tile>
__device__ __forceinline__ void JoinWarpgroups(const MlaShared<Tile>& shared, int warpgroup,
                                               MlaSums<Tile>& sums) {
  constexpr int kSlots = Tile::kColumns / 4;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x % 128 / 32;
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    float weight = sums.weight[s];
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2) {
      weight += __shfl_xor_sync(0xffffffffu, weight, offset);
    }
    if (lane < 4) {
      const int column = SlotColumn(lane, s);
      shared.sums(warpgroup)[warp * Tile::kColumns + column] = weight;
      if (warp == 0) shared.group_maxima(warpgroup)[column] = sums.maximum[s];
    }
  }
  SyncNamed(kConsumerBarrier, kMlaConsumerThreads);
  JoinFactors factors[kSlots];
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    const int column = SlotColumn(lane, s);
    float weight[2] = {0.0f, 0.0f};
#pragma unroll
    for (int g = 0; g < 2; ++g) {
#pragma unroll
      for (int w = 0; w < 4; ++w) weight[g] += shared.sums(g)[w * Tile::kColumns + column];
    }
    factors[s] = Join(shared.group_maxima(0)[column], shared.group_maxima(1)[column]);
    sums.maximum[s] = factors[s].maximum;
    sums.weight[s] = JoinSum(weight[0], weight[1], factors[s]);
  }
  float* exchange = shared.exchange() + threadIdx.x % 128;
#pragma unroll
  for (int first = 0; first < kLatentTiles; first += Tile::kTilesPerPass) {
    if (warpgroup == 1) {
#pragma unroll
      for (int r = 0; r < Tile::kPassRegisters; ++r) {
        exchange[r * 128] = sums.sum[first + r / Tile::kTileRegisters][r % Tile::kTileRegisters];
      }
    }
    SyncNamed(kConsumerBarrier, kMlaConsumerThreads);
    if (warpgroup == 0) {
#pragma unroll
      for (int r = 0; r < Tile::kPassRegisters; ++r) {
        const int i = r % Tile::kTileRegisters;
        float& sum = sums.sum[first + r / Tile::kTileRegisters][i];
        sum = JoinSum(sum, exchange[r * 128], factors[ColumnSlot(i)]);
      }
    }
    SyncNamed(kConsumerBarrier, kMlaConsumerThreads);
  }
}

}  // namespace baton::kernels::cuda
