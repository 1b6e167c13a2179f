#include "kernels/cpu/cpu_backend.h"

#include <string>

#include "gtest/gtest.h"

namespace baton::kernels {
namespace {

TEST(CpuBackend, TakesTheBestVariantUnlessToldOtherwise) {
  const Team team = (*CreateCpuBackend({}))->CreateTeam(2, 1).value();
  EXPECT_EQ(team.name, "cpu/" + std::string(Name(AvailableCpuVariants().back())));
  CpuOptions options;
  options.variant = CpuVariant::kPortable;
  EXPECT_EQ((*CreateCpuBackend(options))->CreateTeam(1, 1).value().name, "cpu/portable");
}

TEST(CpuBackend, RefusesVariantsThatTheMachineLacks) {
  for (CpuVariant variant :
       {CpuVariant::kAvx2, CpuVariant::kAvx512, CpuVariant::kAvx512Bf16, CpuVariant::kAmxBf16}) {
    CpuOptions options;
    options.variant = variant;
    const absl::Status status = CreateCpuBackend(options).status();
    EXPECT_EQ(status.ok(), FindCpuKernels(variant).ok());
    if (status.ok()) continue;
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(status.message().find(Name(variant)), absl::string_view::npos);
  }
}

TEST(CpuBackend, RefusesImpossibleThreadCounts) {
  for (int threads : {0, -1, 100000}) {
    CpuOptions options;
    options.num_threads_per_device = threads;
    EXPECT_EQ(CreateCpuBackend(options).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace baton::kernels
