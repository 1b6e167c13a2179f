// AVX-512 F, BW, DQ and VL.
#include "kernels/cpu/variants/kernel_table.h"

namespace baton::kernels::cpu {

const VariantKernels* Avx512Kernels() {
#if defined(__AVX512F__)
  static constexpr VariantKernels kTable = MakeKernels("avx512");
  return &kTable;
#else
  return nullptr;
#endif
}

}  // namespace baton::kernels::cpu
