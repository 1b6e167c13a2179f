#include "tests/conformance/kernels/backends.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/reference/reference_backend.h"
#include "tests/conformance/kernels/modelled_tiles.h"
#include "tests/conformance/kernels/staged_backend.h"

namespace baton::kernels {
namespace {

std::unique_ptr<Backend> Reference(const BackendCase&) { return CreateReferenceBackend(); }

std::unique_ptr<Backend> Cpu(const BackendCase& backend) {
  const CpuOptions options = {backend.num_threads, static_cast<CpuVariant>(backend.variant)};
  auto created = CreateCpuBackend(options);
  return created.ok() ? std::move(created).value() : nullptr;
}

std::unique_ptr<Backend> ModelledTiles(const BackendCase& backend) {
  auto created = CreateCpuBackendWith(*ModelledTileKernels(), backend.num_threads);
  return created.ok() ? std::move(created).value() : nullptr;
}

std::unique_ptr<Backend> StagedReference(const BackendCase&) {
  return StageBackend(CreateReferenceBackend());
}

std::unique_ptr<Backend> Cuda(const BackendCase& backend) {
  auto created = CreateCudaBackend({.plain_kernels = !backend.quantises_activations,
                                    .through_nccl = backend.through_nccl,
                                    .through_cublas = backend.through_cublas});
  return created.ok() ? StageBackend(std::move(created).value()) : nullptr;
}

// Devices that a team of the backend may have on this machine.
int MostDevices(const BackendCase& backend) {
  int most = 1;
  while (most < 8 && backend.create(backend)->CreateTeam(8, most + 1).ok()) ++most;
  return most;
}

}  // namespace

std::vector<BackendCase> AllBackends() {
  std::vector<BackendCase> cases = {{"reference", Reference},
                                    {"staged_reference", StagedReference}};
  if (CreateCudaBackend().ok()) {
    for (const bool quantises : {false, true}) {
      cases.push_back({quantises ? "cuda" : "cuda_plain", Cuda});
      cases.back().quantises_activations = quantises;
      cases.back().on_gpu = true;
      cases.back().most_devices = MostDevices(cases.back());
    }
    BackendCase cublas = cases.back();
    cublas.name = "cuda_cublas";
    cublas.through_cublas = true;
    BackendCase nccl = cases.back();
    nccl.name = "cuda_nccl";
    nccl.through_nccl = true;
    // A machine without NCCL is one thing, NCCL that does not work another.
    if (nccl.create(nccl)->CreateTeam(1, 1).status().code() !=
        absl::StatusCode::kFailedPrecondition) {
      cases.push_back(nccl);
    }
    // Without the library the backend is the one above.
    if (absl::EndsWith(cublas.create(cublas)->CreateTeam(1, 1)->name, "cublas")) {
      cases.push_back(cublas);
    }
  }
  for (CpuVariant variant : AvailableCpuVariants()) {
    for (int threads : {1, 3}) {
      cases.push_back({absl::StrCat("cpu_", Name(variant), "_", threads), Cpu,
                       static_cast<int>(variant), threads});
    }
  }
  if (ModelledTileKernels() != nullptr && FindCpuKernels(CpuVariant::kAvx512Bf16).ok()) {
    cases.push_back({"cpu_modelled_tiles", ModelledTiles});
  }
  return cases;
}

std::vector<BackendCase> BackendsBesideReference() {
  std::vector<BackendCase> cases = AllBackends();
  std::erase_if(cases, [](const BackendCase& backend) { return backend.name == "reference"; });
  return cases;
}

std::string CaseName(const ::testing::TestParamInfo<BackendCase>& backend) {
  return backend.param.name;
}

void ConformanceTest::SetUp() {
  std::unique_ptr<Backend> backend = MakeBackend();
  ASSERT_NE(backend, nullptr);
  team_ = backend->CreateTeam(1, 1).value();
  reference_ = CreateReferenceBackend()->CreateTeam(1, 1).value();
}

}  // namespace baton::kernels
