// Launches of sums and gathers over ranks, and what each thread does in them: where one device
// holds all ranks, and in the copies around what NCCL carries. Between devices that read each
// other's memory, peer_exchange.h does the work.
#pragma once

#include <cstdint>

#include "kernels/cuda/plan/launch_shape.h"
#include "kernels/cuda/plan/launch_thread.h"
#include "kernels/cuda/plan/peer_exchange.h"

namespace baton::kernels::cuda {

// A thread per unit: an element, or four of them. Threads may lie behind the last.
inline constexpr int kUnitThreads = 256;

constexpr LaunchShape UnitsLaunch(int64_t units) {
  return {.grid_x = NumBlocks(units, kUnitThreads), .block = kUnitThreads};
}
BATON_HOST_DEVICE constexpr int64_t UnitOf(const LaunchThread& thread) {
  return thread.block_x * kUnitThreads + thread.index;
}

// Unit u of `out` = the sum of the parts' units u, in order.
template <typename Unit>
BATON_HOST_DEVICE inline void SumLocalUnit(const LocalParts<Unit>& parts, int num_parts,
                                           const PartRows<Unit>& out, int64_t u) {
  Unit sum = parts.rank[0].at(u);
  for (int i = 1; i < num_parts; ++i) sum = Plus(sum, parts.rank[i].at(u));
  out.at(u) = sum;
}

// Where unit u of rank `rank`'s shard, `columns` units wide, stands in rows of all ranks' columns.
BATON_HOST_DEVICE constexpr int64_t GatheredAt(int64_t u, int64_t columns, int64_t out_stride,
                                               int rank) {
  return u / columns * out_stride + rank * columns + u % columns;
}

// Units u of all parts to their columns of `out`.
template <typename Unit>
BATON_HOST_DEVICE inline void GatherLocalUnit(const LocalParts<Unit>& parts, int num_parts,
                                              Unit* out, int64_t out_stride, int64_t columns,
                                              int64_t u) {
  for (int i = 0; i < num_parts; ++i) {
    out[GatheredAt(u, columns, out_stride, i)] = parts.rank[i].at(u);
  }
}

// Between devices: calls of kExchangeFloats elements at most, kExchangeBlocks blocks each.
constexpr LaunchShape ExchangeLaunch() {
  return {.grid_x = kExchangeBlocks, .block = kExchangeThreads};
}
constexpr Steps<int64_t> ExchangeCalls(int64_t count) { return {0, kExchangeFloats, count}; }
constexpr int64_t ExchangeCallLength(int64_t first, int64_t count) {
  return count - first < kExchangeFloats ? count - first : kExchangeFloats;
}

// Through NCCL: chunks of each part, packed one after the other. In two shots a chunk is cut into a
// share per device, and packed parts are `pitch` apart, room for whole shares; what stands behind
// the chunk's end is carried and added too, and dropped.
inline constexpr int64_t kNcclChunkFloats = int64_t{1} << 22;

constexpr Steps<int64_t> NcclChunks(int64_t count) { return {0, kNcclChunkFloats, count}; }
constexpr int64_t NcclChunkLength(int64_t first, int64_t count) {
  return count - first < kNcclChunkFloats ? count - first : kNcclChunkFloats;
}
constexpr int64_t NcclShare(int64_t length, int num_devices) {
  return (length + num_devices - 1) / num_devices;
}
constexpr int64_t NcclPitch(int64_t length, int num_devices) {
  return NcclShare(length, num_devices) * num_devices;
}
// Elements of a packed part's room, whatever its chunk.
constexpr int64_t NcclRowRoom(int num_devices) { return NcclPitch(kNcclChunkFloats, num_devices); }

// Element first + e of every local part to its row of what is sent.
template <typename T>
BATON_HOST_DEVICE inline void PackElement(const LocalParts<T>& parts, int num_parts, T* to,
                                          int64_t pitch, int64_t first, int64_t e) {
  for (int i = 0; i < num_parts; ++i) to[i * pitch + e] = parts.rank[i].at(first + e);
}

// Element first + e of `out` = sum of parts[r * pitch + e], r ascending.
BATON_HOST_DEVICE inline void SumElement(const float* parts, int num_parts, int64_t pitch,
                                         const PartRows<float>& out, int64_t first, int64_t e) {
  float sum = parts[e];
  for (int r = 1; r < num_parts; ++r) sum += parts[r * pitch + e];
  out.at(first + e) = sum;
}

// Element first + e of every rank's shard to its column of `out`.
template <typename T>
BATON_HOST_DEVICE inline void SpreadElement(const T* shards, int num_ranks, int64_t pitch, T* out,
                                            int64_t out_stride, int64_t columns, int64_t first,
                                            int64_t e) {
  for (int r = 0; r < num_ranks; ++r) {
    out[GatheredAt(first + e, columns, out_stride, r)] = shards[r * pitch + e];
  }
}

}  // namespace baton::kernels::cuda
