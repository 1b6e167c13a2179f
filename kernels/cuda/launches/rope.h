// Launches of rope.cu: rotary embedding in place, and the way into the paged cache.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/api/attention.h"
#include "kernels/api/rope.h"

namespace baton::kernels::cuda {

// As kernels/api says; spans and views are in device memory.
void LaunchRope(const RopeArgs& args, cudaStream_t stream);
// With a table in one launch, the same bits as of two. A row whose sequence row is negative is
// padding and writes nothing.
void LaunchKvWrite(const KvWriteArgs& args, cudaStream_t stream);

}  // namespace baton::kernels::cuda
