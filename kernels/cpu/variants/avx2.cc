// AVX2, FMA and F16C.
#include "kernels/cpu/variants/kernel_table.h"

namespace baton::kernels::cpu {

const VariantKernels* Avx2Kernels() {
#if defined(__AVX2__)
  static constexpr VariantKernels kTable = MakeKernels("avx2");
  return &kTable;
#else
  return nullptr;
#endif
}

}  // namespace baton::kernels::cpu
