// Barriers in shared memory (mbarrier) and named barriers of a part of a block.
//
// Phases: a barrier starts in phase 0; WaitBarrier(b, p) returns when the phase of parity p has
// completed. A consumer of a ring of S stages waits for visit i of stage i % S with parity
// (i / S) & 1 on `full`; a producer waits on `empty` with parity ((i / S) & 1) ^ 1, which a fresh
// barrier lets pass at once.
#pragma once

#include <cstdint>

namespace baton::kernels::cuda {

__device__ __forceinline__ uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ void InitBarrier(uint64_t* barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(barrier)),
               "r"(arrivals)
               : "memory");
}

// Makes initialised barriers visible to the copy engine and to the cluster. Before the block's (or
// cluster's) next barrier.
__device__ __forceinline__ void FenceBarrierInit() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void Arrive(uint64_t* barrier) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}" ::"r"(
                   SharedAddress(barrier))
               : "memory");
}

// Arrives, and makes the phase wait for `bytes` of copies as well.
__device__ __forceinline__ void ArriveExpect(uint64_t* barrier, uint32_t bytes) {
  asm volatile(
      "{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n}" ::"r"(
          SharedAddress(barrier)),
      "r"(bytes)
      : "memory");
}

__device__ __forceinline__ void WaitBarrier(uint64_t* barrier, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\n"
      "again_%=:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again_%=;\n}" ::"r"(SharedAddress(barrier)),
      "r"(parity)
      : "memory");
}

// Barrier 1..15 among `threads` threads of the block (0 is __syncthreads).
__device__ __forceinline__ void SyncNamed(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// Orders this thread's ordinary writes to shared memory before later reads by matrix instructions
// and the copy engine. Each writing thread, before the barrier that the readers wait for.
__device__ __forceinline__ void FenceAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

}  // namespace baton::kernels::cuda
