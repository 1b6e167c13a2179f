// How the devices of a team hand each other their parts: the body of one kernel that all of them
// run at the same time.
//
// Each device has an exchange buffer that all others read, two slots of one part per local rank,
// and flags that all others write. A call with sequence number e, counted by each block in device
// memory (a captured graph counts on):
//
//   block b copies its range of the local parts to slot e % 2
//   block b tells block b of every device: flags[b][me] = e      (release, system scope)
//   block b awaits flags[b][d] == e of every device d            (acquire, system scope)
//   block b reads its range of every rank's part, ranks ascending
//
// Blocks depend on blocks of their own number alone, and a grid has at most kExchangeBlocks blocks,
// which every device holds at once: no wait is for a block that has not begun. All blocks take part
// in every call, with empty ranges too. A slot is written again two calls later; by then every
// device has told of call e + 1, so has finished reading call e.
#pragma once

#include <cstdint>

namespace baton::kernels::cuda {

inline constexpr int kMostDevices = 8;
inline constexpr int kMostRanks = 64;
inline constexpr int kExchangeBlocks = 64;
inline constexpr int kExchangeThreads = 256;
inline constexpr int64_t kExchangeFloats = int64_t{1} << 20;  // of one part in one slot
inline constexpr uint64_t kExchangePatienceNs = 60'000'000'000;

struct ExchangeView {
  int num_devices = 1;
  int me = 0;
  int num_ranks = 1;
  int first_rank[kMostDevices + 1] = {};
  float* parts[kMostDevices] = {};     // [2][local ranks][kExchangeFloats]
  uint32_t* flags[kMostDevices] = {};  // [kExchangeBlocks][kMostDevices]
  uint32_t* calls = nullptr;           // [kExchangeBlocks], this device's own

  __device__ int local_ranks(int device) const {
    return first_rank[device + 1] - first_rank[device];
  }
  __device__ float* part(int device, int local_rank, uint32_t call) const {
    return parts[device] + (int64_t{call % 2} * local_ranks(device) + local_rank) * kExchangeFloats;
  }
};

__device__ inline void StoreRelease(uint32_t* flag, uint32_t value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}

__device__ inline uint32_t LoadAcquire(const uint32_t* flag) {
  uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
  return value;
}

__device__ inline uint64_t DeviceNanoseconds() {
  uint64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

// Returns when block `block` of every device has come as far. A device that never comes ends the
// kernel with an error.
__device__ inline void AwaitPeers(const ExchangeView& view, int block, uint32_t call) {
  __threadfence_system();
  __syncthreads();
  const int peer = static_cast<int>(threadIdx.x);
  if (peer < view.num_devices) {
    StoreRelease(&view.flags[peer][block * kMostDevices + view.me], call);
    const uint32_t* flag = &view.flags[view.me][block * kMostDevices + peer];
    const uint64_t begin = DeviceNanoseconds();
    while (static_cast<int32_t>(LoadAcquire(flag) - call) < 0) {
      if (DeviceNanoseconds() - begin > kExchangePatienceNs) __trap();
    }
  }
  __syncthreads();
}

// Rows of a part: `stride` elements of 4 or 2 bytes between them.
template <typename T>
struct PartRows {
  T* data = nullptr;
  int64_t columns = 0;
  int64_t stride = 0;

  __device__ T& at(int64_t element) const {
    return data[element / columns * stride + element % columns];
  }
};

template <typename T>
struct LocalParts {
  PartRows<const T> rank[kMostRanks];
};

// The elements [begin, end) of a call that block `block` handles.
struct BlockRange {
  __device__ BlockRange(int64_t first, int64_t count, int block) {
    const int64_t share = (count + kExchangeBlocks - 1) / kExchangeBlocks;
    begin = first + block * share;
    end = begin + share < first + count ? begin + share : first + count;
  }
  int64_t begin;
  int64_t end;
};

// Copies this block's range of the local parts out and awaits the others'. Returns the call.
template <typename T>
__device__ inline uint32_t PublishParts(const ExchangeView& view, const LocalParts<T>& local,
                                        int64_t first, const BlockRange& range, int block) {
  const uint32_t call = view.calls[block] + 1;
  for (int i = 0; i < view.local_ranks(view.me); ++i) {
    T* to = reinterpret_cast<T*>(view.part(view.me, i, call));
    for (int64_t e = range.begin + threadIdx.x; e < range.end; e += kExchangeThreads) {
      to[e - first] = local.rank[i].at(e);
    }
  }
  AwaitPeers(view, block, call);
  if (threadIdx.x == 0) view.calls[block] = call;
  return call;
}

// out = sum over all ranks, ascending.
__device__ inline void SumPartsBody(const ExchangeView& view, const LocalParts<float>& local,
                                    const PartRows<float>& out, int64_t first, int64_t count,
                                    int block) {
  const BlockRange range(first, count, block);
  const uint32_t call = PublishParts(view, local, first, range, block);
  for (int64_t e = range.begin + threadIdx.x; e < range.end; e += kExchangeThreads) {
    float sum = 0.0f;
    for (int device = 0; device < view.num_devices; ++device) {
      for (int i = 0; i < view.local_ranks(device); ++i) {
        const float value = view.part(device, i, call)[e - first];
        sum = device == 0 && i == 0 ? value : sum + value;
      }
    }
    out.at(e) = sum;
  }
}

// Rank r's elements to columns r * columns and on of `out`.
template <typename T>
__device__ inline void GatherPartsBody(const ExchangeView& view, const LocalParts<T>& local, T* out,
                                       int64_t out_stride, int64_t columns, int64_t first,
                                       int64_t count, int block) {
  const BlockRange range(first, count, block);
  const uint32_t call = PublishParts(view, local, first, range, block);
  for (int device = 0; device < view.num_devices; ++device) {
    for (int i = 0; i < view.local_ranks(device); ++i) {
      const T* part = reinterpret_cast<const T*>(view.part(device, i, call));
      const int64_t shift = (view.first_rank[device] + i) * columns;
      for (int64_t e = range.begin + threadIdx.x; e < range.end; e += kExchangeThreads) {
        out[e / columns * out_stride + shift + e % columns] = part[e - first];
      }
    }
  }
}

}  // namespace baton::kernels::cuda
