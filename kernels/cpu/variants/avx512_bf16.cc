// AVX-512 with BF16 and VBMI.
#include "kernels/cpu/variants/variant_kernels.h"

#if defined(__AVX512BF16__)
#include "kernels/cpu/variants/attend_pairs.h"
#include "kernels/cpu/variants/kernel_table.h"
#include "kernels/cpu/variants/product_pairs.h"

namespace baton::kernels::cpu {
namespace {

constexpr VariantKernels MakePairKernels() {
  VariantKernels table = MakeKernels("avx512_bf16");
  table.pairs = true;
  table.pair_step = 4;
  table.product = ProductOfPairs;
  table.attend = AttendPairs;
  return table;
}

}  // namespace

const VariantKernels* Avx512Bf16Kernels() {
  static constexpr VariantKernels kTable = MakePairKernels();
  return &kTable;
}

}  // namespace baton::kernels::cpu
#else
namespace baton::kernels::cpu {
const VariantKernels* Avx512Bf16Kernels() { return nullptr; }
}  // namespace baton::kernels::cpu
#endif
