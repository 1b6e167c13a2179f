// The instruction-set variants of the CPU backend and which of them this machine has.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "kernels/cpu/variants/variant_kernels.h"

namespace baton::kernels {

// In ascending order of preference.
enum class CpuVariant { kPortable, kAvx2, kAvx512, kAvx512Bf16, kAmxBf16 };

// "portable", "avx2", "avx512", "avx512_bf16", "amx_bf16".
absl::string_view Name(CpuVariant variant);

// InvalidArgument with the list of names if there is none of that name.
absl::StatusOr<CpuVariant> ParseCpuVariant(absl::string_view name);

// What processor, operating system and build allow; at least kPortable; the best comes last. The
// first call asks the operating system for the use of AMX tiles, for the whole process.
std::vector<CpuVariant> AvailableCpuVariants();

// FailedPrecondition if the machine or the build lacks it.
absl::StatusOr<const cpu::VariantKernels*> FindCpuKernels(CpuVariant variant);

}  // namespace baton::kernels
