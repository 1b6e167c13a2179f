// The lanes of plan/peer_exchange.h on a device.
#pragma once

#include <cstdint>

#include "kernels/cuda/plan/peer_exchange.h"

namespace baton::kernels::cuda {

inline constexpr uint64_t kExchangePatienceNs = 60'000'000'000;

// One thread of a block of kExchangeThreads. A device that never comes ends the kernel with an
// error.
struct DeviceLane {
  __device__ int index() const { return static_cast<int>(threadIdx.x); }
  __device__ int count() const { return kExchangeThreads; }
  __device__ void SyncBlock() const {
    __threadfence_system();
    __syncthreads();
  }
  __device__ void TellPeer(uint32_t* flag, uint32_t ticket) const {
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(ticket) : "memory");
  }
  __device__ void AwaitPeer(const uint32_t* flag, uint32_t ticket) const {
    const uint64_t begin = Nanoseconds();
    while (static_cast<int32_t>(Load(flag) - ticket) < 0) {
      if (Nanoseconds() - begin > kExchangePatienceNs) __trap();
    }
  }

 private:
  __device__ static uint32_t Load(const uint32_t* flag) {
    uint32_t value;
    asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
    return value;
  }
  __device__ static uint64_t Nanoseconds() {
    uint64_t now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    return now;
  }
};

}  // namespace baton::kernels::cuda
