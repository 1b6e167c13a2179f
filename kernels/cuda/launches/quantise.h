// Launch of quantise.cu: activations as the FP8 products take them.
#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>

#include "common/tensor/tensor_view.h"

namespace baton::kernels::cuda {

// E4M3 codes and one float32 scale per row and 128 columns: with a = the largest magnitude of the
// 128, at least 1e-4: scale = a / 448, code = x / scale to nearest even. A row's codes depend on
// the row alone. `x`: bfloat16 [rows, columns], columns a multiple of 128, rows at multiples of 8
// bytes. `codes`: [rows, columns], dense. `scales`: [columns / 128, rows], rows together, as both
// LaunchBlockGemm and cuBLASLt read them.
void LaunchQuantise(const TensorView& x, uint8_t* codes, float* scales, cudaStream_t stream);

}  // namespace baton::kernels::cuda
