// Launches of norm.cu: RMS normalisation, alone and behind a residual addition.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/api/norm.h"

namespace baton::kernels::cuda {

// As kernels/api/norm.h says; views name device memory.
void LaunchRmsNorm(const RmsNormArgs& args, cudaStream_t stream);
void LaunchAddRmsNorm(const AddRmsNormArgs& args, cudaStream_t stream);
void LaunchAdd(const AddArgs& args, cudaStream_t stream);

}  // namespace baton::kernels::cuda
