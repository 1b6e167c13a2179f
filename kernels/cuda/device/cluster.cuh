// Blocks of a cluster: their barrier and each other's shared memory; order between kernels.
#pragma once

#include <cstdint>

#include "kernels/cuda/device/barrier.cuh"

namespace baton::kernels::cuda {

__device__ __forceinline__ uint32_t ClusterRank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

__device__ __forceinline__ uint32_t ClusterSize() {
  uint32_t size;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}

// All threads of all blocks of the cluster; writes to shared memory before it are seen after it.
__device__ __forceinline__ void SyncCluster() {
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
}

// The address of `shared_address` in the shared memory of block `rank`.
__device__ __forceinline__ uint32_t PeerAddress(uint32_t shared_address, uint32_t rank) {
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(shared_address), "r"(rank));
  return address;
}

__device__ __forceinline__ float4 LoadPeer4(uint32_t peer_address) {
  float4 v;
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(peer_address)
               : "memory");
  return v;
}

// Waits until the kernel before this one is done and its writes are visible; nothing that it
// writes may be read, nothing that it reads be written, before. Immediate without a programmatic
// dependency.
__device__ __forceinline__ void WaitForPredecessor() {
#if __CUDA_ARCH__ >= 900  // before, kernels never overlap
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the kernel after this one start its part that does not depend on this one.
__device__ __forceinline__ void AllowSuccessor() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Changes the registers per thread of a warpgroup that has one role of a kernel; all its warps. The
// kernel must be compiled for one block per multiprocessor, and the sum must fit.
template <int kRegisters>
__device__ __forceinline__ void ShrinkRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void GrowRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace baton::kernels::cuda
