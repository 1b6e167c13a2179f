// Launch of embedding.cu: rows of a shard of the vocabulary.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/api/embedding.h"

namespace baton::kernels::cuda {

// As kernels/api/embedding.h says; token ids and views are in device memory.
void LaunchEmbed(const EmbedArgs& args, cudaStream_t stream);

}  // namespace baton::kernels::cuda
