// Work, rings and results around mla_core.cuh. kSplits: work is a (tile, split) pair; thread blocks
// walk over all of them, every block finds its own from the positions, so that a captured graph
// fits any lengths. kSequential: work is a group of rows; after each split the first warpgroup
// joins it to the result so far, which lies in the block's part of the workspace
// ([register][thread]: every thread reads back what it wrote itself).
#include "kernels/cuda/device/cluster.cuh"
#include "kernels/cuda/device/kernel_launch.cuh"
#include "kernels/cuda/mla_attention.h"
#include "kernels/cuda/mla_core.cuh"

namespace baton::kernels::cuda {
namespace {

// Work of a thread block: splits begin..end-1 of a tile.
struct Work {
  int first_row;
  int num_rows;
  int split_begin;
  int split_end;
  int last_position;  // of the tile's last row
};

__device__ __forceinline__ Work WorkOfTile(const MlaArgs& args, int row, int rows_per_tile) {
  Work work;
  work.first_row = row;
  work.num_rows = TileRows(args.sequence_rows, args.rows, row, rows_per_tile);
  work.last_position = -1;
  work.split_begin = 0;
  work.split_end = 0;
  if (args.sequence_rows[row] < 0) return work;  // padding of a captured graph
  work.last_position = args.positions[row + work.num_rows - 1];
  work.split_end = KeySplits(work.last_position);
  return work;
}

// first[r] = splits of the tiles that begin before row r, first[rows] all. All threads of the
// block.
template <class Tile>
__device__ __forceinline__ void CountSplits(const MlaShared<Tile>& shared, const MlaArgs& args,
                                            int rows_per_tile) {
  int32_t* first = shared.first_split();
  int32_t* warp_totals = reinterpret_cast<int32_t*>(shared.exchange());
  const int per_thread = CeilDiv(args.rows, kMlaThreads);
  const int begin = min(static_cast<int>(threadIdx.x) * per_thread, args.rows);
  const int end = min(begin + per_thread, args.rows);
  int total = 0;
  for (int row = begin; row < end; ++row) {
    first[row] = total;
    if (BeginsTile(args.sequence_rows, row, rows_per_tile)) {
      total += WorkOfTile(args, row, rows_per_tile).split_end;
    }
  }
  int before = total;  // inclusive sum over the warp
  for (int offset = 1; offset < 32; offset *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, before, offset);
    if (threadIdx.x % 32 >= offset) before += other;
  }
  if (threadIdx.x % 32 == 31) warp_totals[threadIdx.x / 32] = before;
  __syncthreads();
  before -= total;
  for (unsigned warp = 0; warp < threadIdx.x / 32; ++warp) before += warp_totals[warp];
  for (int row = begin; row < end; ++row) first[row] += before;
  if (threadIdx.x == kMlaThreads - 1) first[args.rows] = before + total;
  __syncthreads();
}

// Calls visit(work, number) for the block's work in order; `number` is the pair's place in the
// workspace (kSplits).
template <class Tile, bool kSequential, class Visit>
__device__ __forceinline__ void ForEachWork(const MlaShared<Tile>& shared, const MlaArgs& args,
                                            int rows_per_tile, Visit visit) {
  if constexpr (kSequential) {
    const int groups = CeilDiv(args.rows, rows_per_tile);
    for (int g = blockIdx.x; g < groups; g += gridDim.x) {
      // Late rows, which see most keys, first.
      int row = (groups - 1 - g) * rows_per_tile;
      const int end = min(row + rows_per_tile, args.rows);
      while (row < end) {
        const Work work = WorkOfTile(args, row, rows_per_tile);
        visit(work, 0);
        row += work.num_rows;
      }
    }
  } else {
    const int32_t* first = shared.first_split();
    for (int number = blockIdx.x; number < first[args.rows]; number += gridDim.x) {
      int low = 0;  // the last row with first[row] <= number begins the pair's tile
      int high = args.rows;
      while (high - low > 1) {
        const int middle = (low + high) / 2;
        (first[middle] <= number ? low : high) = middle;
      }
      // Rows that begin no tile share the value of the next that does.
      Work work = WorkOfTile(args, low, rows_per_tile);
      work.split_begin = number - first[low];
      work.split_end = work.split_begin + 1;
      visit(work, number);
    }
  }
}

// The tile's queries of one group of heads: columns without a query are zeros. All 256 consumers.
template <class Tile>
__device__ __forceinline__ void LoadQueries(const MlaShared<Tile>& shared, const MlaArgs& args,
                                            const Work& work, int first_head, int heads_per_tile) {
  constexpr int kParts = kKeyDims / 8;
  for (int i = threadIdx.x; i < Tile::kColumns * kParts; i += kMlaConsumerThreads) {
    const int column = i / kParts;
    const int part = i % kParts;
    uint4 values = make_uint4(0, 0, 0, 0);
    if (column / heads_per_tile < work.num_rows) {
      const int64_t row = work.first_row + column / heads_per_tile;
      const int64_t head = first_head + column % heads_per_tile;
      const __nv_bfloat16* source =
          part < kLatentDims / 8
              ? static_cast<const __nv_bfloat16*>(args.q_latent) + row * args.q_latent_stride +
                    head * kLatentDims + part * 8
              : static_cast<const __nv_bfloat16*>(args.q_rope) + row * args.q_rope_stride +
                    head * args.q_rope_head_stride + (part - kLatentDims / 8) * 8;
      values = *reinterpret_cast<const uint4*>(source);
    }
    *reinterpret_cast<uint4*>(shared.queries() + part / 8 * Tile::kQueryChunkBytes +
                              SwizzledOffset(column, part % 8 * 16)) = values;
  }
  FenceAsyncProxy();
  SyncNamed(kConsumerBarrier, kMlaConsumerThreads);
}

// The copying lane: all blocks of all work, two ahead of the consumers.
template <class Tile, bool kSequential>
__device__ __forceinline__ void CopyKeys(const MlaShared<Tile>& shared, const MlaArgs& args,
                                         int rows_per_tile) {
  PrefetchMap(&args.keys);
  const uint64_t policy = kSequential || gridDim.y > 1 ? ReusePolicy() : StreamingPolicy();
  int visit = 0;
  ForEachWork<Tile, kSequential>(shared, args, rows_per_tile, [&](const Work& work, int) {
    const int32_t* table = args.block_tables + args.sequence_rows[work.first_row] * args.max_blocks;
    for (int split = work.split_begin; split < work.split_end; ++split) {
      const int blocks = SplitBlocks(work.last_position, split);
      for (int block = 0; block < blocks; ++block, ++visit) {
        const int stage = visit % Tile::kStages;
        const int row = table[split * kBlocksPerSplit + block] * kMlaBlockTokens;
        WaitBarrier(shared.empty(stage), ((visit / Tile::kStages) & 1) ^ 1);
        ArriveExpect(shared.full(stage), Tile::kStageBytes);
        for (int chunk = 0; chunk < Tile::kChunks; ++chunk) {
          CopyBox(shared.keys(stage) + chunk * Tile::kChunkBytes, &args.keys, shared.full(stage),
                  chunk * 64, row, policy);
        }
      }
    }
  });
}

// One split of a tile; `visit` counts the ring's blocks and goes on behind the split's.
template <class Tile>
__device__ __forceinline__ void AttendSplit(const MlaShared<Tile>& shared, const Work& work,
                                            int split, const int (&position)[Tile::kColumns / 4],
                                            float log2_scale, int& visit, MlaSums<Tile>& sums) {
  const int warpgroup = threadIdx.x / 128;
  const int blocks = SplitBlocks(work.last_position, split);
  ClearSums(sums);
  for (int block = warpgroup; block < blocks; block += 2) {
    const int stage = (visit + block) % Tile::kStages;
    const int first_key = split * kMlaSplitTokens + block * kMlaBlockTokens;
    int last_key[Tile::kColumns / 4];
#pragma unroll
    for (int s = 0; s < Tile::kColumns / 4; ++s) last_key[s] = position[s] - first_key;
    WaitBarrier(shared.full(stage), ((visit + block) / Tile::kStages) & 1);
    AttendBlock(shared, warpgroup, stage, work.last_position + 1 - first_key, last_key, log2_scale,
                sums);
    __syncwarp();
    if (threadIdx.x % 32 == 0) Arrive(shared.empty(stage));
  }
  visit += blocks;
  JoinWarpgroups(shared, warpgroup, sums);
}

// Writes a split's result for the combining kernel. The first warpgroup.
template <class Tile>
__device__ __forceinline__ void StoreSplit(const MlaSums<Tile>& sums, float* out) {
#pragma unroll
  for (int r = 0; r < Tile::kSumRegisters; ++r) {
    out[r * 128 + threadIdx.x] = sums.sum[r / Tile::kTileRegisters][r % Tile::kTileRegisters];
  }
  if (threadIdx.x < 4) {
    float* columns = out + Tile::kSumRegisters * 128;
#pragma unroll
    for (int s = 0; s < Tile::kColumns / 4; ++s) {
      columns[SlotColumn(threadIdx.x, s)] = sums.maximum[s];
      columns[Tile::kColumns + SlotColumn(threadIdx.x, s)] = sums.weight[s];
    }
  }
}

// Joins a split to the result so far, which lies in `memory`. The first warpgroup.
template <class Tile>
__device__ __forceinline__ void ContinueSequence(bool first, MlaSums<Tile>& sums, float* memory) {
  constexpr int kSlots = Tile::kColumns / 4;
  memory += threadIdx.x;
  float* columns = memory + Tile::kSumRegisters * 128;
  JoinFactors factors[kSlots];
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    float* maximum = columns + 2 * s * 128;
    float* weight = maximum + 128;
    factors[s] = Join(first ? kMinusInfinity : *maximum, sums.maximum[s]);
    *weight = JoinSum(first ? 0.0f : *weight, sums.weight[s], factors[s]);
    *maximum = factors[s].maximum;
  }
#pragma unroll
  for (int t = 0; t < kLatentTiles; ++t) {
#pragma unroll
    for (int i = 0; i < Tile::kTileRegisters; ++i) {
      float* stored = memory + (t * Tile::kTileRegisters + i) * 128;
      *stored = JoinSum(first ? 0.0f : *stored, sums.sum[t][i], factors[ColumnSlot(i)]);
    }
    asm volatile("" ::: "memory");  // one tile's loads at a time: registers are short here
  }
}

// Writes the tile's output from `memory`, where each thread finds what it stored. The first
// warpgroup.
template <class Tile>
__device__ __forceinline__ void StoreSequence(const MlaArgs& args, const Work& work, int first_head,
                                              int heads_per_tile, const float* memory) {
  memory += threadIdx.x;
  const float* columns = memory + Tile::kSumRegisters * 128;
#pragma unroll 1
  for (int i = 0; i < Tile::kTileRegisters; ++i) {
    const FragmentElement element = ResultElement(threadIdx.x, i);
    const int row = element.column / heads_per_tile;
    if (row >= work.num_rows) continue;
    const float inverse = __frcp_rn(columns[(2 * ColumnSlot(i) + 1) * 128]);
    __nv_bfloat16* out =
        static_cast<__nv_bfloat16*>(args.out) + (work.first_row + row) * args.out_stride +
        (first_head + element.column % heads_per_tile) * int64_t{kLatentDims} + element.row;
#pragma unroll
    for (int t = 0; t < kLatentTiles; ++t) {
      out[t * 64] =
          __float2bfloat16_rn(__fmul_rn(memory[(t * Tile::kTileRegisters + i) * 128], inverse));
    }
  }
}

// Padding: what stands in its rows may be no numbers at all. `num_threads` threads.
__device__ __forceinline__ void StoreZeros(const MlaArgs& args, int first_row, int num_rows,
                                           int first_head, int num_heads, int num_threads) {
  const int row_parts = num_heads * (kLatentDims / 8);
  for (int i = threadIdx.x; i < num_rows * row_parts; i += num_threads) {
    __nv_bfloat16* out = static_cast<__nv_bfloat16*>(args.out) +
                         (first_row + i / row_parts) * args.out_stride +
                         first_head * int64_t{kLatentDims} + i % row_parts * 8;
    *reinterpret_cast<uint4*>(out) = make_uint4(0, 0, 0, 0);
  }
}

// The consumers: all work of the block.
template <class Tile, bool kSequential>
__device__ __forceinline__ void AttendAll(const MlaShared<Tile>& shared, const MlaArgs& args,
                                          int heads_per_tile) {
  constexpr int kSlots = Tile::kColumns / 4;
  const int rows_per_tile = Tile::kColumns / heads_per_tile;
  const int first_head = blockIdx.y * heads_per_tile;
  const float log2_scale = args.scale * 1.44269504f /* log2(e) */;
  int visit = 0;
  MlaSums<Tile> sums;
  ForEachWork<Tile, kSequential>(shared, args, rows_per_tile, [&](const Work& work, int number) {
    if constexpr (kSequential) {
      if (work.split_end == 0) {
        StoreZeros(args, work.first_row, work.num_rows, first_head, heads_per_tile,
                   kMlaConsumerThreads);
        return;
      }
    }
    LoadQueries(shared, args, work, first_head, heads_per_tile);
    int position[kSlots];
#pragma unroll
    for (int s = 0; s < kSlots; ++s) {
      const int row = SlotColumn(threadIdx.x % 32, s) / heads_per_tile;
      position[s] = row < work.num_rows ? args.positions[work.first_row + row] : -1;
    }
    if constexpr (kSequential) {
      float* memory = args.workspace + (int64_t{blockIdx.y} * gridDim.x + blockIdx.x) *
                                           SequenceFloats(Tile::kColumns);
      for (int split = 0; split < work.split_end; ++split) {
        AttendSplit(shared, work, split, position, log2_scale, visit, sums);
        if (threadIdx.x < 128) {
          ContinueSequence(split == 0, sums, memory);
        }
      }
      if (threadIdx.x < 128) StoreSequence<Tile>(args, work, first_head, heads_per_tile, memory);
    } else {
      AttendSplit(shared, work, work.split_begin, position, log2_scale, visit, sums);
      if (threadIdx.x < 128) {
        StoreSplit(sums, args.workspace + (int64_t{number} * gridDim.y + blockIdx.y) *
                                              PartialFloats(Tile::kColumns));
      }
    }
  });
}

template <class Tile, bool kSequential>
__device__ __forceinline__ void Attend(const MlaArgs& args) {
  extern __shared__ unsigned char dynamic_shared[];
  const MlaShared<Tile> shared(dynamic_shared);
  const int heads_per_tile = HeadsPerTile(args.heads, Tile::kColumns);
  const int rows_per_tile = Tile::kColumns / heads_per_tile;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Tile::kStages; ++stage) {
      InitBarrier(shared.full(stage), 1);
      InitBarrier(shared.empty(stage), 4);
    }
    FenceBarrierInit();
  }
  AllowSuccessor();
  WaitForPredecessor();
  if constexpr (kSequential) {
    __syncthreads();
  } else {
    CountSplits(shared, args, rows_per_tile);
  }
  if (threadIdx.x >= kMlaConsumerThreads) {
    ShrinkRegisters<kMlaCopyRegisters>();
    if (threadIdx.x == kMlaConsumerThreads) {
      CopyKeys<Tile, kSequential>(shared, args, rows_per_tile);
    }
  } else {
    GrowRegisters<kMlaConsumerRegisters>();
    AttendAll<Tile, kSequential>(shared, args, heads_per_tile);
  }
}

template <class Tile, bool kSequential>
__global__ void __launch_bounds__(kMlaThreads, 1)
    MlaAttentionKernel(const __grid_constant__ MlaArgs args) {
  BATON_HOPPER_BODY((Attend<Tile, kSequential>(args));)
}

// Joins the splits of one row in order, 64 latents of one group of heads: block (latents, row,
// group), 128 threads, each with the registers that it would have as thread of the first
// warpgroup above.
template <class Tile>
__device__ __forceinline__ void CombineSplits(const MlaArgs& args) {
  constexpr int kSlots = Tile::kColumns / 4;
  constexpr int kPitch = 64 + 8;  // a multiple of 16 bytes
  __shared__ int32_t warp_totals[4];
  __shared__ alignas(16) __nv_bfloat16 tile[Tile::kColumns * kPitch];
  const int thread = threadIdx.x;
  const int heads_per_tile = HeadsPerTile(args.heads, Tile::kColumns);
  const int rows_per_tile = Tile::kColumns / heads_per_tile;
  const int row = blockIdx.y;
  AllowSuccessor();
  WaitForPredecessor();
  if (args.sequence_rows[row] < 0) {
    if (blockIdx.x == 0) {
      StoreZeros(args, row, 1, blockIdx.z * heads_per_tile, heads_per_tile, 128);
    }
    return;
  }

  int first_row = row;  // of the row's tile
  while (!BeginsTile(args.sequence_rows, first_row, rows_per_tile)) --first_row;
  int total = 0;
  for (int r = thread; r < first_row; r += 128) {
    if (BeginsTile(args.sequence_rows, r, rows_per_tile)) {
      total += WorkOfTile(args, r, rows_per_tile).split_end;
    }
  }
  total = __reduce_add_sync(0xffffffffu, total);
  if (thread % 32 == 0) warp_totals[thread / 32] = total;
  __syncthreads();
  const int64_t number = warp_totals[0] + warp_totals[1] + warp_totals[2] + warp_totals[3];

  float maximum[kSlots];
  float weight[kSlots];
  float sum[Tile::kTileRegisters];
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    maximum[s] = kMinusInfinity;
    weight[s] = 0.0f;
  }
#pragma unroll
  for (int i = 0; i < Tile::kTileRegisters; ++i) sum[i] = 0.0f;
  const int splits = KeySplits(args.positions[row]);
  for (int split = 0; split < splits; ++split) {
    const float* partial = args.workspace + ((number + split) * gridDim.z + blockIdx.z) *
                                                PartialFloats(Tile::kColumns);
    const float* columns = partial + Tile::kSumRegisters * 128;
    JoinFactors factors[kSlots];
#pragma unroll
    for (int s = 0; s < kSlots; ++s) {
      const int column = SlotColumn(thread % 32, s);
      factors[s] = Join(maximum[s], columns[column]);
      maximum[s] = factors[s].maximum;
      weight[s] = JoinSum(weight[s], columns[Tile::kColumns + column], factors[s]);
    }
    const float* sums = partial + blockIdx.x * Tile::kTileRegisters * 128 + thread;
#pragma unroll
    for (int i = 0; i < Tile::kTileRegisters; ++i) {
      sum[i] = JoinSum(sum[i], sums[i * 128], factors[ColumnSlot(i)]);
    }
  }
#pragma unroll
  for (int i = 0; i < Tile::kTileRegisters; ++i) {
    const FragmentElement element = ResultElement(thread, i);
    tile[element.column * kPitch + element.row] =
        __float2bfloat16_rn(__fmul_rn(sum[i], __frcp_rn(weight[ColumnSlot(i)])));
  }
  __syncthreads();
  __nv_bfloat16* out = static_cast<__nv_bfloat16*>(args.out) + row * args.out_stride +
                       blockIdx.z * heads_per_tile * kLatentDims + blockIdx.x * 64;
  for (int i = thread; i < heads_per_tile * 8; i += 128) {
    const int column = (row - first_row) * heads_per_tile + i / 8;
    *reinterpret_cast<uint4*>(out + i / 8 * kLatentDims + i % 8 * 8) =
        *reinterpret_cast<const uint4*>(tile + column * kPitch + i % 8 * 8);
  }
}

template <class Tile>
__global__ void __launch_bounds__(128) MlaCombineKernel(const __grid_constant__ MlaArgs args) {
  CombineSplits<Tile>(args);
}

template <class Tile>
cudaError_t Launch(const MlaArgs& args, MlaSchedule schedule, int multiprocessors,
                   cudaStream_t stream) {
  const int groups = args.heads / HeadsPerTile(args.heads, Tile::kColumns);
  KernelShape shape;
  shape.grid = dim3(multiprocessors, groups);
  shape.block = dim3(kMlaThreads);
  shape.shared_bytes = Tile::kSharedBytes;
  shape.programmatic = args.programmatic;
  if (schedule == MlaSchedule::kSequential) {
    return LaunchHopper(MlaAttentionKernel<Tile, true>, shape, stream, args);
  }
  const cudaError_t error = LaunchHopper(MlaAttentionKernel<Tile, false>, shape, stream, args);
  if (error != cudaSuccess) return error;
  shape.grid = dim3(kLatentTiles, args.rows, groups);
  shape.block = dim3(128);
  shape.shared_bytes = 0;
  return LaunchHopper(MlaCombineKernel<Tile>, shape, stream, args);
}

}  // namespace

int64_t MlaWorkspaceBytes(int heads, bool share_tiles, MlaSchedule schedule, int64_t parts) {
  const int columns = TileColumns(heads, share_tiles);
  const int64_t floats =
      schedule == MlaSchedule::kSequential ? SequenceFloats(columns) : PartialFloats(columns);
  return parts * (heads / HeadsPerTile(heads, columns)) * floats *
         static_cast<int64_t>(sizeof(float));
}

cudaError_t LaunchMlaAttention(const MlaArgs& args, MlaSchedule schedule, int multiprocessors,
                               cudaStream_t stream) {
  if (args.rows == 0) return cudaSuccess;
  const bool aligned =
      args.q_latent_stride % 8 == 0 && args.q_rope_stride % 8 == 0 &&
      args.q_rope_head_stride % 8 == 0 && args.out_stride % 8 == 0 &&
      (reinterpret_cast<uintptr_t>(args.q_latent) | reinterpret_cast<uintptr_t>(args.q_rope) |
       reinterpret_cast<uintptr_t>(args.out)) %
              16 ==
          0;
  // Heads without a rotary query of their own would all take the first one's.
  const bool rotary_apart = args.heads == 1 || args.q_rope_head_stride >= kRopeKeyDims;
  if (!aligned || !rotary_apart || args.heads <= 0 || multiprocessors <= 0 ||
      (schedule == MlaSchedule::kSplits && args.rows > kMaxSplitRows)) {
    return cudaErrorInvalidValue;
  }
  return TileColumns(args.heads, args.share_tiles) == 32
             ? Launch<MlaTile<32>>(args, schedule, multiprocessors, stream)
             : Launch<MlaTile<16>>(args, schedule, multiprocessors, stream);
}

}  // namespace baton::kernels::cuda
