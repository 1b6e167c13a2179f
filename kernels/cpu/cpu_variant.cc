#include "kernels/cpu/cpu_variant.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace baton::kernels {
namespace {

constexpr CpuVariant kAllVariants[] = {CpuVariant::kPortable, CpuVariant::kAvx2,
                                       CpuVariant::kAvx512, CpuVariant::kAvx512Bf16,
                                       CpuVariant::kAmxBf16};

#if defined(__x86_64__)
bool HasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

// F16C has no name of its own in gcc 12; every processor with AVX2 and FMA has it.
bool HasAvx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool HasAvx512Bf16() {
  return HasAvx512() && __builtin_cpu_supports("avx512bf16") &&
         __builtin_cpu_supports("avx512vbmi");
}

// CPUID 7.0 EDX: bit 22 AMX-BF16, bit 24 AMX-TILE. The kernel gives tile registers on demand only.
bool AskForTiles() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & (1u << 22)) == 0 || (edx & (1u << 24)) == 0) return false;
  constexpr int kRequestComponentPermission = 0x1023;
  constexpr int kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestComponentPermission, kTileData) == 0;
}

bool HasAmxBf16() {
  static const bool granted = HasAvx512Bf16() && AskForTiles();
  return granted;
}

bool MachineHas(CpuVariant variant) {
  switch (variant) {
    case CpuVariant::kPortable:
      return true;
    case CpuVariant::kAvx2:
      return HasAvx2();
    case CpuVariant::kAvx512:
      return HasAvx2() && HasAvx512();
    case CpuVariant::kAvx512Bf16:
      return HasAvx2() && HasAvx512Bf16();
    case CpuVariant::kAmxBf16:
      return HasAvx2() && HasAmxBf16();
  }
  return false;
}
#else
bool MachineHas(CpuVariant variant) { return variant == CpuVariant::kPortable; }
#endif

const cpu::VariantKernels* BuiltKernels(CpuVariant variant) {
  switch (variant) {
    case CpuVariant::kPortable:
      return cpu::PortableKernels();
    case CpuVariant::kAvx2:
      return cpu::Avx2Kernels();
    case CpuVariant::kAvx512:
      return cpu::Avx512Kernels();
    case CpuVariant::kAvx512Bf16:
      return cpu::Avx512Bf16Kernels();
    case CpuVariant::kAmxBf16:
      return cpu::AmxBf16Kernels();
  }
  return nullptr;
}

}  // namespace

absl::string_view Name(CpuVariant variant) {
  switch (variant) {
    case CpuVariant::kPortable:
      return "portable";
    case CpuVariant::kAvx2:
      return "avx2";
    case CpuVariant::kAvx512:
      return "avx512";
    case CpuVariant::kAvx512Bf16:
      return "avx512_bf16";
    case CpuVariant::kAmxBf16:
      return "amx_bf16";
  }
  return "?";
}

absl::StatusOr<CpuVariant> ParseCpuVariant(absl::string_view name) {
  std::vector<absl::string_view> names;
  for (CpuVariant variant : kAllVariants) {
    if (Name(variant) == name) return variant;
    names.push_back(Name(variant));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no CPU variant \"", name, "\"; there are ", absl::StrJoin(names, ", ")));
}

std::vector<CpuVariant> AvailableCpuVariants() {
  std::vector<CpuVariant> available;
  for (CpuVariant variant : kAllVariants) {
    if (FindCpuKernels(variant).ok()) available.push_back(variant);
  }
  return available;
}

absl::StatusOr<const cpu::VariantKernels*> FindCpuKernels(CpuVariant variant) {
  const cpu::VariantKernels* kernels = BuiltKernels(variant);
  if (kernels == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("this build has no code for CPU variant ", Name(variant)));
  }
  if (!MachineHas(variant)) {
    return absl::FailedPreconditionError(
        absl::StrCat("this machine cannot run CPU variant ", Name(variant)));
  }
  return kernels;
}

}  // namespace baton::kernels
