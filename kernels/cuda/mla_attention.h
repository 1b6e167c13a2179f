// Latent attention over the paged cache for latents of 512 and rotary keys of 64 dimensions in
// bfloat16; semantics as kernels/api/attention.h.
#pragma once

#include <cstdint>
#include <cuda.h>
#include <cuda_runtime.h>

#include "kernels/cuda/plan/mla_plan.h"

namespace baton::kernels::cuda {

// How a step's keys are spread over the device; the bits of the result are the same.
enum class MlaSchedule {
  kSplits,      // decoding: each split of 512 keys is work of its own, a second kernel combines
  kSequential,  // prefill: a block takes a tile of queries through all its splits
};

// Shapes: q_latent [rows, heads * 512], q_rope [rows, ...] with head h at h * q_rope_head_stride,
// out [rows, heads * 512], strides in elements, multiples of 8, as addresses of 16 bytes; the heads
// of q_rope at least 64 apart; positions, sequence_rows [rows], where a sequence row of -1 is
// padding: it reads nothing, and its row of `out` becomes zeros; block_tables [sequences,
// max_blocks]; all in device memory, read when the kernel runs. `keys`: a map by KvForCopy over the
// layer's cache. kSplits takes up to kMaxSplitRows rows.
struct MlaArgs {
  CUtensorMap keys;
  const void* q_latent = nullptr;
  int64_t q_latent_stride = 0;
  const void* q_rope = nullptr;
  int64_t q_rope_stride = 0;
  int64_t q_rope_head_stride = 0;
  const int32_t* positions = nullptr;
  const int32_t* sequence_rows = nullptr;
  const int32_t* block_tables = nullptr;
  int64_t max_blocks = 0;
  void* out = nullptr;
  int64_t out_stride = 0;
  float scale = 1.0f;
  int rows = 0;
  int heads = 0;
  // Query rows of one sequence that may share a tile: 1 for plain decoding, more where sequences
  // have several rows.
  bool share_tiles = false;
  float* workspace = nullptr;  // MlaWorkspaceBytes
  bool programmatic = false;
};

// Workspace for `parts` splits of tiles in all (kSplits; at most the sum of KeySplits over the
// rows) or `parts` multiprocessors (kSequential).
int64_t MlaWorkspaceBytes(int heads, bool share_tiles, MlaSchedule schedule, int64_t parts);

// Runs on `multiprocessors` thread blocks per group of heads. rows = 0 does nothing. Errors:
// cudaErrorInvalidValue, cudaErrorNoKernelImageForDevice, the runtime's.
cudaError_t LaunchMlaAttention(const MlaArgs& args, MlaSchedule schedule, int multiprocessors,
                               cudaStream_t stream);

}  // namespace baton::kernels::cuda
