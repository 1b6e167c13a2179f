// Where a row's tokens are cut: the first so many, or so much mass, of the order "largest value
// first, lowest id among equals". By radix over the bits of the values, eight at a time, each pass
// over the row in one block; counts and masses are integers, so no order of threads matters.
#pragma once

#include <cstdint>

#include "kernels/api/reproducible_math.h"
#include "kernels/cuda/plan/draw_threads.h"

namespace baton::kernels::cuda {

// Ascending keys are descending values; the two zeros have one key.
__device__ inline uint32_t OrderKey(float value) {
  const uint32_t bits = __float_as_uint(value + 0.0f);
  const uint32_t ascending = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return ~ascending;
}

// Tokens with a smaller key stay; of those with this key, the ones up to last_id.
struct DrawCut {
  uint32_t key = 0xffffffffu;
  uint32_t last_id = 0xffffffffu;

  __device__ bool Keeps(uint32_t other, uint32_t id) const {
    return other < key || (other == key && id <= last_id);
  }
};

// The block's shared memory.
struct DrawShared {
  uint32_t counts[kDrawDigits];
  unsigned long long masses[kDrawDigits];
  float warp_values[kDrawWarps];
  uint32_t warp_ids[kDrawWarps];
  unsigned long long warp_masses[kDrawWarps];
  // What thread 0 found, for all.
  uint32_t key;
  uint32_t count;
  uint32_t equal;
  uint32_t last_id;
  unsigned long long before;
  uint32_t num_top;
};

struct BestToken {
  float value = 0.0f;
  uint32_t id = 0xffffffffu;  // none

  __device__ bool Beats(const BestToken& other) const {
    if (id == 0xffffffffu || other.id == 0xffffffffu) return id < other.id;
    return value != other.value ? value > other.value : id < other.id;
  }
};

// The best of all threads', in all threads.
__device__ inline BestToken BestOfBlock(BestToken best, DrawShared& shared) {
  const auto fold = [&best] {
    for (int distance = 16; distance > 0; distance /= 2) {
      const BestToken other = {__shfl_xor_sync(0xffffffffu, best.value, distance),
                               __shfl_xor_sync(0xffffffffu, best.id, distance)};
      if (other.Beats(best)) best = other;
    }
  };
  fold();
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    shared.warp_values[threadIdx.x / 32] = best.value;
    shared.warp_ids[threadIdx.x / 32] = best.id;
  }
  __syncthreads();
  best = {shared.warp_values[threadIdx.x % 32], shared.warp_ids[threadIdx.x % 32]};
  fold();
  return best;
}

// The sum of all threads' masses, in all threads.
__device__ inline uint64_t SumOfBlockMass(unsigned long long mass, DrawShared& shared) {
  for (int distance = 16; distance > 0; distance /= 2) {
    mass += __shfl_xor_sync(0xffffffffu, mass, distance);
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared.warp_masses[threadIdx.x / 32] = mass;
  __syncthreads();
  mass = shared.warp_masses[threadIdx.x % 32];
  for (int distance = 16; distance > 0; distance /= 2) {
    mass += __shfl_xor_sync(0xffffffffu, mass, distance);
  }
  return mass;
}

// Adds what the lanes of a warp have counted, once per digit: most tokens share a few digits, and
// would queue for one word each. All lanes of a warp call it; a mass is at most kMassOne, 2^40.
template <bool kWithMass>
__device__ inline void AddDigits(bool counts, uint32_t digit, uint64_t mass, DrawShared& shared) {
  if (__ballot_sync(0xffffffffu, counts) == 0) return;
  const unsigned same = __match_any_sync(0xffffffffu, counts ? digit : 256u);
  const unsigned before = (1u << (threadIdx.x % 32)) - 1u;
  const bool adds = counts && (same & before) == 0;
  if (adds) atomicAdd(&shared.counts[digit], static_cast<uint32_t>(__popc(same)));
  if constexpr (kWithMass) {
    // In halves of 20 bits and the rest, whose sums have room in 32.
    const uint32_t low = __reduce_add_sync(same, static_cast<uint32_t>(mass) & 0xfffffu);
    const uint32_t high = __reduce_add_sync(same, static_cast<uint32_t>(mass >> 20));
    const unsigned long long sum = (static_cast<unsigned long long>(high) << 20) + low;
    if (adds && sum != 0) atomicAdd(&shared.masses[digit], sum);
  }
}

// Counts and, if asked for, masses of the tokens whose key begins with `prefix` under `mask`, by
// their next digit. `Dropped` tokens and keys behind `last_key` do not count.
template <bool kWithMass, typename Values>
__device__ inline void CountDigits(const Values& values, int32_t vocabulary, uint32_t prefix,
                                   uint32_t mask, int shift, uint32_t last_key,
                                   DrawShared& shared) {
  for (const int digit : EntriesOfThread(static_cast<int>(threadIdx.x), 0, kDrawDigits)) {
    shared.counts[digit] = 0;
    shared.masses[digit] = 0;
  }
  __syncthreads();
  for (const int32_t begin : TokenRounds(vocabulary)) {
    const int32_t id = begin + static_cast<int32_t>(threadIdx.x);
    const float value = id < vocabulary ? values(id) : -INFINITY;
    const uint32_t key = OrderKey(value);
    const bool counts = value != -INFINITY && (key & mask) == prefix && key <= last_key;
    uint64_t mass = 0;
    if constexpr (kWithMass) mass = counts ? SoftmaxMass(value) : 0;
    AddDigits<kWithMass>(counts, (key >> shift) & 255u, mass, shared);
  }
  __syncthreads();
}

// The id of the `count`-th token, in order of ids, of those with `key`; in all threads.
template <typename Values>
__device__ inline uint32_t IdOfEqual(const Values& values, int32_t vocabulary, uint32_t key,
                                     uint32_t count, DrawShared& shared) {
  uint32_t before = 0;
  if (threadIdx.x == 0) shared.last_id = 0xffffffffu;
  for (const int32_t begin : TokenRounds(vocabulary)) {
    if (before >= count) break;
    const int32_t id = begin + static_cast<int32_t>(threadIdx.x);
    const bool equal = id < vocabulary && values(id) != -INFINITY && OrderKey(values(id)) == key;
    const unsigned ballot = __ballot_sync(0xffffffffu, equal);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared.warp_ids[threadIdx.x / 32] = __popc(ballot);
    __syncthreads();
    uint32_t place = before;
    for (int warp = 0; warp < kDrawWarps; ++warp) {
      const uint32_t size = shared.warp_ids[warp];
      if (warp < static_cast<int>(threadIdx.x / 32)) place += size;
      before += size;
    }
    place += __popc(ballot & ((1u << (threadIdx.x % 32)) - 1u));
    if (equal && place + 1 == count) shared.last_id = static_cast<uint32_t>(id);
  }
  __syncthreads();
  return shared.last_id;
}

// The cut behind the first `wanted` tokens, 1 <= wanted <= tokens that are not dropped.
template <typename Values>
__device__ inline DrawCut CutByCount(const Values& values, int32_t vocabulary, uint32_t wanted,
                                     DrawShared& shared) {
  uint32_t prefix = 0;
  uint32_t mask = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    CountDigits<false>(values, vocabulary, prefix, mask, shift, 0xffffffffu, shared);
    if (threadIdx.x == 0) {
      uint32_t digit = 0;
      while (digit < 255 && shared.counts[digit] < wanted) wanted -= shared.counts[digit++];
      shared.key = prefix | (digit << shift);
      shared.count = wanted;
      shared.equal = shared.counts[digit];
    }
    __syncthreads();
    prefix = shared.key;
    wanted = shared.count;
    mask |= 255u << shift;
    __syncthreads();
  }
  DrawCut cut = {prefix, 0xffffffffu};
  if (wanted < shared.equal) cut.last_id = IdOfEqual(values, vocabulary, prefix, wanted, shared);
  return cut;
}

// The cut behind the tokens of `first` before which lies less mass than `limit`; at least one.
template <typename Values>
__device__ inline DrawCut CutByMass(const Values& values, int32_t vocabulary, double limit,
                                    const DrawCut& first, DrawShared& shared) {
  uint32_t prefix = 0;
  uint32_t mask = 0;
  unsigned long long before = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    CountDigits<true>(values, vocabulary, prefix, mask, shift, first.key, shared);
    if (threadIdx.x == 0) {
      // The last digit that is there and has less than `limit` before it; the first one always.
      uint32_t digit = 0;
      while (shared.counts[digit] == 0 && digit < 255) ++digit;
      unsigned long long mass = before;
      unsigned long long ahead = before + shared.masses[digit];
      for (uint32_t next = digit + 1; next < 256; ++next) {
        if (shared.counts[next] == 0) continue;
        if (!(static_cast<double>(ahead) < limit)) break;
        digit = next;
        mass = ahead;
        ahead += shared.masses[next];
      }
      shared.key = prefix | (digit << shift);
      shared.before = mass;
      shared.equal = shared.counts[digit];
    }
    __syncthreads();
    prefix = shared.key;
    before = shared.before;
    mask |= 255u << shift;
    __syncthreads();
  }
  // Equal keys have equal masses: how many of them have less than `limit` before them?
  if (threadIdx.x == 0) {
    const uint32_t ascending = ~prefix;
    const float value =
        __uint_as_float((ascending >> 31) != 0 ? ascending & 0x7fffffffu : ~ascending);
    const unsigned long long mass = SoftmaxMass(value);
    uint32_t low = 1;
    uint32_t high = shared.equal;  // the answer is in [low, high]
    while (low < high) {
      const uint32_t middle = low + (high - low + 1) / 2;  // is the middle-th one there?
      if (static_cast<double>(before + (middle - 1) * mass) < limit) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    shared.count = low;
  }
  __syncthreads();
  const uint32_t count = shared.count;
  DrawCut cut = {prefix, 0xffffffffu};
  if (count < shared.equal) cut.last_id = IdOfEqual(values, vocabulary, prefix, count, shared);
  if (prefix == first.key && first.last_id < cut.last_id) cut.last_id = first.last_id;
  return cut;
}

}  // namespace baton::kernels::cuda
