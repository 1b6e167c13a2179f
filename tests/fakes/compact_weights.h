// Weights that the CPU backend holds in compact panels (kernels/cpu/README.md), of models that are
// too small for that.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "common/tensor/bfloat16.h"
#include "kernels/api/ops.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/cpu_variant.h"
#include "tests/fakes/memory_checkpoint.h"

namespace baton::fakes {

// A device of the CPU, of the best variant, that holds weights of every size in compact panels
// where their type and k allow it. Must outlive what it packs.
class CompactDevice {
 public:
  CompactDevice() : kernels_(**kernels::FindCpuKernels(kernels::AvailableCpuVariants().back())) {
    kernels_.compact_from = 1;
    team_ = *(*kernels::CreateCpuBackendWith(kernels_, 1))->CreateTeam(1, 1);
  }
  CompactDevice(const CompactDevice&) = delete;
  CompactDevice& operator=(const CompactDevice&) = delete;

  kernels::Ops* ops() { return team_.devices[0].ops.get(); }

 private:
  kernels::cpu::VariantKernels kernels_;
  kernels::Team team_;
};

// Gives elements of these rows exponents of 70 binades, so that panels of them stay plain. The
// tensor is one of bfloat16.
inline void ScatterRows(const std::string& name, int64_t first_row, int64_t num_rows,
                        MemoryCheckpoint* checkpoint) {
  MemoryTensor tensor = checkpoint->tensors().at(name);
  for (int64_t i = first_row * tensor.columns; i < (first_row + num_rows) * tensor.columns; ++i) {
    BFloat16 element;
    element.bits = static_cast<uint16_t>((90 + i % 70) << 7 | i % 128);
    std::memcpy(tensor.bytes.data() + i * static_cast<int64_t>(sizeof(element)), &element,
                sizeof(element));
  }
  checkpoint->Set(name, std::move(tensor));
}

}  // namespace baton::fakes
