// The AMX kernels with the tile registers modelled in memory: runs wherever AVX-512 BF16 does.
#pragma once

#include "kernels/cpu/variants/variant_kernels.h"

namespace baton::kernels {

// Null if the build has no AVX-512 BF16.
const cpu::VariantKernels* ModelledTileKernels();

}  // namespace baton::kernels
