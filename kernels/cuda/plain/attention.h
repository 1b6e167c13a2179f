// Multi-head latent attention of any shape and type on any device.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/api/attention.h"

namespace baton::kernels::cuda {

// As kernels/api/attention.h says. A row whose sequence row is negative is padding: zeros.
void LaunchPlainAttention(const MlaAttentionArgs& args, cudaStream_t stream);

}  // namespace baton::kernels::cuda
