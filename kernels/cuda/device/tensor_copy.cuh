// Copies from global to shared memory: the tensor copy engine, and cp.async for gathered rows.
#pragma once

#include <cstdint>
#include <cuda.h>

#include "kernels/cuda/device/barrier.cuh"

namespace baton::kernels::cuda {

// For data that is read once: first to leave L2.
__device__ __forceinline__ uint64_t StreamingPolicy() {
  uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

// For data that other blocks will read again.
__device__ __forceinline__ uint64_t ReusePolicy() {
  uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

__device__ __forceinline__ void PrefetchMap(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// Before the first use of a map in global memory that the host or another kernel wrote there: each
// thread that copies through it. The host's writes are in the system's scope, not the device's.
__device__ __forceinline__ void AcquireMap(const CUtensorMap* map) {
  asm volatile("fence.proxy.tensormap::generic.acquire.sys [%0], 128;" ::"l"(map) : "memory");
}

// Starts the copy of the map's box at (column, row) to `destination`; its bytes, those outside the
// tensor (zeros) too, count on `barrier`. One thread.
__device__ __forceinline__ void CopyBox(void* destination, const CUtensorMap* map,
                                        uint64_t* barrier, int column, int row, uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      ".L2::cache_hint [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(SharedAddress(destination)),
      "l"(map), "r"(SharedAddress(barrier)), "r"(column), "r"(row), "l"(policy)
      : "memory");
}

// Copies 16 bytes, zeros if not `valid`. The address must be readable memory only if `valid`.
__device__ __forceinline__ void CopyAsync16(uint32_t destination, const void* source, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination), "l"(source),
               "r"(valid ? 16 : 0)
               : "memory");
}

__device__ __forceinline__ void CopyAsync4(uint32_t destination, const void* source, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(destination), "l"(source),
               "r"(valid ? 4 : 0)
               : "memory");
}

__device__ __forceinline__ void CommitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most kPending of this thread's committed groups are under way.
template <int kPending>
__device__ __forceinline__ void WaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace baton::kernels::cuda
