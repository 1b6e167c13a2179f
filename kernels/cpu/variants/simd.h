// Sixteen float32 lanes and what the kernels do with them, in the form that the file's flags allow.
// All names have internal linkage: each variant has its own.
#pragma once

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "kernels/cpu/variants/simd_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "kernels/cpu/variants/simd_avx2.h"
#else
#include "kernels/cpu/variants/simd_portable.h"
#endif
