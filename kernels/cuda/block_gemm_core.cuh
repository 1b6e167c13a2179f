// The block product that dense and expert layers share: D^T = W X^T, weights as the 64-row
// operand of the warpgroup product, tokens as its columns.
//
// Who does what. Warps 0..7 are two warpgroups of consumers; warps 8..11 load. Visit i of the ring
// (scale block first_block + i along k) uses stage i % kStages.
//   full[stage]: 5 arrivals and the weights' bytes: one by loader thread 0 (ArriveExpect, then the
//     tensor copies), one per loader warp once the warp's cp.async copies of tokens and scales have
//     landed: each thread waits for its own, fences them for the matrix instructions' proxy, then
//     the warp synchronises and its first lane arrives.
//   empty[stage]: 8 arrivals, one per consumer warp, after WaitProducts<0> (the products have read
//     weights and tokens) and after every lane has read its token scales.
// Loaders run kLag visits ahead of their arrivals. Before visit i >= kStages they wait for the
// release of visit i - kStages; they have then arrived for all visits up to i - 1 - kLag >= i -
// kStages, so that consumers can get there: kLag <= kStages - 1.
// After the last visit every copy has landed (consumers have waited for each) and every product has
// been read: behind a barrier of all threads (kBranchBarrier, for consumers and loaders come to it
// in different branches) the ring's memory takes the partial sums.
//
// Order of summation of an output element: within a scale block the tensor core's; blocks of a
// split in order of k, in float32 registers; splits in order of rank. None depends on the number of
// tokens or on the tile's width.
#pragma once

#include <cstdint>

#include "kernels/cuda/device/barrier.cuh"
#include "kernels/cuda/device/cluster.cuh"
#include "kernels/cuda/device/convert.cuh"
#include "kernels/cuda/device/tensor_copy.cuh"
#include "kernels/cuda/device/warpgroup_mma.cuh"
#include "kernels/cuda/plan/block_gemm_plan.h"
#include "kernels/cuda/plan/tile_layout.h"

namespace baton::kernels::cuda {

inline constexpr int kBranchBarrier = 1;

// A block's shared memory as block_gemm_plan.h draws it.
template <class Tile>
struct GemmShared {
  unsigned char* base;  // a multiple of kAtomBytes, the same in every block of a cluster

  __device__ explicit GemmShared(unsigned char* dynamic)
      : base(dynamic + (kAtomBytes - SharedAddress(dynamic) % kAtomBytes) % kAtomBytes) {}
  __device__ unsigned char* weights(int stage) const { return base + stage * Tile::kWeightBytes; }
  __device__ unsigned char* tokens(int stage) const {
    return base + Tile::kTokensOffset + stage * Tile::kTokenBytes;
  }
  __device__ float* token_scales(int stage) const {
    return reinterpret_cast<float*>(base + Tile::kTokenScalesOffset) + stage * Tile::kTokens;
  }
  __device__ float* weight_scales(int warpgroup) const {
    return reinterpret_cast<float*>(base + Tile::kWeightScalesOffset) + warpgroup * kMaxSplitBlocks;
  }
  __device__ uint64_t* full(int stage) const {
    return reinterpret_cast<uint64_t*>(base + Tile::kBarriersOffset) + stage;
  }
  __device__ uint64_t* empty(int stage) const { return full(stage) + Tile::kStages; }
  __device__ float* partial() const { return reinterpret_cast<float*>(base); }
};

// Scale blocks of k that a block of the cluster sums.
struct SplitRange {
  int first_block;
  int num_blocks;
};
__device__ __forceinline__ SplitRange RangeOfSplit(int k_blocks, int splits, int rank) {
  const int begin = PartBegin(k_blocks, splits, rank);
  return {begin, PartBegin(k_blocks, splits, rank + 1) - begin};
}

// The tile's rows of the weight: box b is 128 rows from row[b] of map[b] on.
template <class Tile>
struct WeightBoxes {
  const CUtensorMap* map[Tile::kBoxes];
  int row[Tile::kBoxes];
};

// Rows of activations [rows, k]: `row_bytes` of each (a multiple of 16), `stride` bytes apart. FP8:
// scales [k / 128][scale_stride] with a row's scale at its index.
struct TokenRows {
  const void* values;
  int64_t stride;
  int64_t row_bytes;
  const float* scales;
  int64_t scale_stride;
};

// One thread; before the block's first barrier.
template <class Tile>
__device__ __forceinline__ void InitGemmBarriers(const GemmShared<Tile>& shared) {
  for (int stage = 0; stage < Tile::kStages; ++stage) {
    InitBarrier(shared.full(stage), 1 + kLoaderThreads / 32);
    InitBarrier(shared.empty(stage), kConsumerThreads / 32);
  }
  FenceBarrierInit();
}

// Starts the copies of visit `visit`'s weights. One loader thread, the same for all visits.
template <class Tile>
__device__ __forceinline__ void LoadWeights(const GemmShared<Tile>& shared,
                                            const WeightBoxes<Tile>& boxes, SplitRange range,
                                            int visit, uint64_t policy) {
  const int stage = visit % Tile::kStages;
  ArriveExpect(shared.full(stage), Tile::kWeightBytes);
#pragma unroll
  for (int box = 0; box < Tile::kBoxes; ++box) {
    CopyBox(shared.weights(stage) + box * Tile::kBoxRows * kAtomRowBytes, boxes.map[box],
            shared.full(stage), (range.first_block + visit) * Tile::kBlockElements, boxes.row[box],
            policy);
  }
}

// The visits whose weights may be copied before anything has been consumed.
template <class Tile>
__device__ __forceinline__ void PrefetchWeights(const GemmShared<Tile>& shared,
                                                const WeightBoxes<Tile>& boxes, SplitRange range,
                                                uint64_t policy) {
  for (int visit = 0; visit < Tile::kStages && visit < range.num_blocks; ++visit) {
    LoadWeights(shared, boxes, range, visit, policy);
  }
}

// All visits' tokens, and the weights that PrefetchWeights left. `thread`: 0..127 among the
// loaders, all of which call. row_of(t): the row of token t of the tile, -1 for a column of zeros.
template <class Tile, class RowOf>
__device__ __forceinline__ void LoadVisits(const GemmShared<Tile>& shared,
                                           const WeightBoxes<Tile>& boxes, const TokenRows& rows,
                                           SplitRange range, int thread, uint64_t policy,
                                           RowOf row_of) {
  constexpr int kLag = Tile::kStages - 1 < 3 ? Tile::kStages - 1 : 3;
  constexpr int kChunks = kChunksPerLoader<Tile>;
  const unsigned char* source[kChunks];
  uint32_t destination[kChunks];
  int bytes_left[kChunks];  // of the row, from the chunk on; rows end with whole chunks
#pragma unroll
  for (int i = 0; i < kChunks; ++i) {
    const int chunk = thread + i * kLoaderThreads;
    const int token = chunk / 8;
    const int row = token < Tile::kTokens ? row_of(token) : -1;
    const int64_t offset = int64_t{range.first_block} * kAtomRowBytes + chunk % 8 * 16;
    bytes_left[i] = row < 0 ? 0 : static_cast<int>(rows.row_bytes - offset);
    source[i] =
        static_cast<const unsigned char*>(rows.values) + (row < 0 ? 0 : row * rows.stride) + offset;
    destination[i] = SwizzledOffset(token, chunk % 8 * 16);
  }
  constexpr bool kScaled = Tile::kElementBytes == 1;
  const int scale_row = kScaled && thread < Tile::kTokens ? row_of(thread) : -1;
  const float* scale_source = nullptr;
  if constexpr (kScaled) {
    scale_source = rows.scales + max(scale_row, 0) + int64_t{range.first_block} * rows.scale_stride;
  }

  for (int visit = 0; visit < range.num_blocks + kLag; ++visit) {
    if (visit < range.num_blocks) {
      const int stage = visit % Tile::kStages;
      if (visit >= Tile::kStages) {
        WaitBarrier(shared.empty(stage), ((visit / Tile::kStages) & 1) ^ 1);
        if (thread == 0) LoadWeights(shared, boxes, range, visit, policy);
      }
      const uint32_t tokens = SharedAddress(shared.tokens(stage));
#pragma unroll
      for (int i = 0; i < kChunks; ++i) {
        if (thread + i * kLoaderThreads < Tile::kTokens * 8) {
          CopyAsync16(tokens + destination[i], source[i], bytes_left[i] > 0);
        }
        source[i] += kAtomRowBytes;
        bytes_left[i] -= kAtomRowBytes;
      }
      if constexpr (kScaled) {
        if (thread < Tile::kTokens) {
          CopyAsync4(SharedAddress(shared.token_scales(stage) + thread), scale_source,
                     scale_row >= 0);
        }
        scale_source += rows.scale_stride;
      }
    }
    CommitCopies();
    if (visit >= kLag) {
      WaitCopies<kLag>();  // visit - kLag and all before
      FenceAsyncProxy();
      __syncwarp();
      if (thread % 32 == 0) Arrive(shared.full((visit - kLag) % Tile::kStages));
    }
  }
}

// total += partial * weight scale * token scale, one scale block of one 64-row sub-tile.
template <int kSize>
__device__ __forceinline__ void AddScaled(float (&total)[kSize], float (&partial)[kSize],
                                          float weight_scale, const float* token_scales) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int j = 0; j < kSize / 4; ++j) {
    const float2 scale = *reinterpret_cast<const float2*>(token_scales + j * 8 + lane % 4 * 2);
    const float even = scale.x * weight_scale;
    const float odd = scale.y * weight_scale;
    total[4 * j] = fmaf(partial[4 * j], even, total[4 * j]);
    total[4 * j + 1] = fmaf(partial[4 * j + 1], odd, total[4 * j + 1]);
    total[4 * j + 2] = fmaf(partial[4 * j + 2], even, total[4 * j + 2]);
    total[4 * j + 3] = fmaf(partial[4 * j + 3], odd, total[4 * j + 3]);
  }
}

// The split's sums of this thread's elements. All consumer threads.
template <class Tile>
__device__ __forceinline__ void MultiplyVisits(const GemmShared<Tile>& shared, int num_visits,
                                               float (&total)[Tile::kSubTiles][Tile::kTokens / 2]) {
  const int warpgroup = threadIdx.x / 128;
  const float* weight_scales = shared.weight_scales(warpgroup);
  float partial[Tile::kSubTiles][Tile::kTokens / 2];
#pragma unroll
  for (int sub = 0; sub < Tile::kSubTiles; ++sub) {
#pragma unroll
    for (int i = 0; i < Tile::kTokens / 2; ++i) partial[sub][i] = total[sub][i] = 0.0f;
  }
  for (int visit = 0; visit < num_visits; ++visit) {
    const int stage = visit % Tile::kStages;
    WaitBarrier(shared.full(stage), (visit / Tile::kStages) & 1);
    const uint64_t b = KMajorDescriptor(SharedAddress(shared.tokens(stage)));
    const uint32_t weights =
        SharedAddress(shared.weights(stage)) + warpgroup * Tile::kSubTiles * 64 * kAtomRowBytes;
#pragma unroll
    for (int sub = 0; sub < Tile::kSubTiles; ++sub) PinRegisters(partial[sub]);
    FenceProducts();
#pragma unroll
    for (int sub = 0; sub < Tile::kSubTiles; ++sub) {
      const uint64_t a = KMajorDescriptor(weights + sub * 64 * kAtomRowBytes);
#pragma unroll
      for (int step = 0; step < kScaleBlock / 32; ++step) {  // 32 bytes = 2 units of the address
        MultiplyE4m3(partial[sub], a + 2 * step, b + 2 * step, step != 0);
      }
      CommitProducts();
    }
    const float weight_scale = weight_scales[visit];
    if constexpr (Tile::kSubTiles == 2) {  // scale the first half while the second multiplies
      WaitProducts<1>();
      PinRegisters(partial[0]);
      AddScaled(total[0], partial[0], weight_scale, shared.token_scales(stage));
    }
    WaitProducts<0>();
    PinRegisters(partial[Tile::kSubTiles - 1]);
    AddScaled(total[Tile::kSubTiles - 1], partial[Tile::kSubTiles - 1], weight_scale,
              shared.token_scales(stage));
    __syncwarp();
    if (threadIdx.x % 32 == 0) Arrive(shared.empty(stage));
  }
}

// The same in bfloat16: the tensor cores' own float32 sums run on from visit to visit.
template <class Tile>
__device__ __forceinline__ void MultiplyBf16Visits(
    const GemmShared<Tile>& shared, int num_visits,
    float (&total)[Tile::kSubTiles][Tile::kTokens / 2]) {
  static_assert(Tile::kSubTiles == 1 && Tile::kElementBytes == 2);
  const int warpgroup = threadIdx.x / 128;
#pragma unroll
  for (int i = 0; i < Tile::kTokens / 2; ++i) total[0][i] = 0.0f;
  for (int visit = 0; visit < num_visits; ++visit) {
    const int stage = visit % Tile::kStages;
    WaitBarrier(shared.full(stage), (visit / Tile::kStages) & 1);
    const uint64_t b = KMajorDescriptor(SharedAddress(shared.tokens(stage)));
    const uint64_t a =
        KMajorDescriptor(SharedAddress(shared.weights(stage)) + warpgroup * 64 * kAtomRowBytes);
    PinRegisters(total[0]);
    FenceProducts();
#pragma unroll
    for (int step = 0; step < Tile::kBlockElements / 16; ++step) {
      MultiplyBf16<false>(total[0], a + 2 * step, b + 2 * step, true);
    }
    CommitProducts();
    WaitProducts<0>();
    PinRegisters(total[0]);
    __syncwarp();
    if (threadIdx.x % 32 == 0) Arrive(shared.empty(stage));
  }
}

// Writes the thread's sums to partial()[token][row of the tile]. Behind kBranchBarrier, after the
// last product.
template <class Tile>
__device__ __forceinline__ void StorePartial(
    const GemmShared<Tile>& shared, const float (&total)[Tile::kSubTiles][Tile::kTokens / 2]) {
  float* out = shared.partial() + PartialIndex<Tile>(threadIdx.x, 0, 0);
#pragma unroll
  for (int sub = 0; sub < Tile::kSubTiles; ++sub) {
#pragma unroll
    for (int i = 0; i < Tile::kTokens / 2; ++i) {
      out[PartialIndex<Tile>(0, sub, i)] = total[sub][i];  // the index is a sum of both
    }
  }
}

// Sum over the splits in order of rank, of rows row..row+3 of the tile for one token. Between two
// SyncCluster.
template <class Tile>
__device__ __forceinline__ float4 SumSplits(const GemmShared<Tile>& shared, int splits, int token,
                                            int row) {
  const uint32_t address = SharedAddress(shared.partial() + token * Tile::kPartialPitch + row);
  float4 part[kMaxSplits];
#pragma unroll
  for (int rank = 0; rank < kMaxSplits; ++rank) {
    if (rank < splits) part[rank] = LoadPeer4(PeerAddress(address, rank));
  }
  float4 sum = part[0];
#pragma unroll
  for (int rank = 1; rank < kMaxSplits; ++rank) {
    if (rank < splits) {
      sum.x += part[rank].x;
      sum.y += part[rank].y;
      sum.z += part[rank].z;
      sum.w += part[rank].w;
    }
  }
  return sum;
}

// A product's output [tokens, n], rows `stride` elements apart.
struct GemmOutput {
  void* data;
  int64_t stride;
  int n;
  bool is_float;  // else bfloat16
};

// Stores four neighbouring outputs of one token from column `column` (a multiple of 4) on, those
// below n.
__device__ __forceinline__ void StoreOutputs(const GemmOutput& output, int64_t token, int column,
                                             float4 v) {
  const int64_t offset = token * output.stride + column;
  const float values[4] = {v.x, v.y, v.z, v.w};
  const bool whole = column + 4 <= output.n && output.stride % 4 == 0;
  if (output.is_float) {
    float* out = static_cast<float*>(output.data) + offset;
    if (whole && reinterpret_cast<uintptr_t>(output.data) % 16 == 0) {
      *reinterpret_cast<float4*>(out) = v;
      return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (column + i < output.n) out[i] = values[i];
    }
    return;
  }
  __nv_bfloat16* out = static_cast<__nv_bfloat16*>(output.data) + offset;
  if (whole && reinterpret_cast<uintptr_t>(output.data) % 8 == 0) {
    *reinterpret_cast<uint2*>(out) = make_uint2(PackBf16(v.x, v.y), PackBf16(v.z, v.w));
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (column + i < output.n) out[i] = __float2bfloat16_rn(values[i]);
  }
}

// Writes the cluster's tile: each block its part of the quads, summed over the splits. Tokens
// first_token + t < m, columns first_row + r. Between two SyncCluster.
template <class Tile>
__device__ __forceinline__ void StoreTile(const GemmShared<Tile>& shared, const GemmOutput& output,
                                          int splits, int rank, int first_token, int m,
                                          int first_row) {
  constexpr int kQuads = Tile::kTokens * Tile::kRows / 4;
  for (int i = PartBegin(kQuads, splits, rank) + threadIdx.x;
       i < PartBegin(kQuads, splits, rank + 1); i += kGemmThreads) {
    const int token = i / (Tile::kRows / 4);
    const int row = i % (Tile::kRows / 4) * 4;
    if (first_token + token < m && first_row + row < output.n) {
      StoreOutputs(output, first_token + token, first_row + row,
                   SumSplits(shared, splits, token, row));
    }
  }
}

}  // namespace baton::kernels::cuda
