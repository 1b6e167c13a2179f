// Any processor.
#include "kernels/cpu/variants/kernel_table.h"

namespace baton::kernels::cpu {

const VariantKernels* PortableKernels() {
  static constexpr VariantKernels kTable = MakeKernels("portable");
  return &kTable;
}

}  // namespace baton::kernels::cpu
