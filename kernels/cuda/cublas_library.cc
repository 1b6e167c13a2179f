#include "kernels/cuda/cublas_library.h"

#include <dlfcn.h>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/log/check.h"

namespace baton::kernels::cuda {
namespace {

constexpr size_t kOldestVersion = 120900;

template <typename Function>
bool FindInCublas(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

}  // namespace

void CublasLibrary::Check(cublasStatus_t status, const char* what) const {
  BATON_CHECK(status == CUBLAS_STATUS_SUCCESS) << what << ": cuBLASLt: " << GetStatusString(status);
}

absl::StatusOr<CublasLibrary> LoadCublas() {
  const std::string name = absl::StrCat("libcublasLt.so.", CUBLAS_VER_MAJOR);
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return absl::FailedPreconditionError(dlerror());
  CublasLibrary cublas;
  const auto find = [library](const char* function_name, auto* function) {
    return FindInCublas(library, function_name, function);
  };
  const bool found =
      find("cublasLtCreate", &cublas.Create) && find("cublasLtDestroy", &cublas.Destroy) &&
      find("cublasLtGetVersion", &cublas.GetVersion) &&
      find("cublasLtGetStatusString", &cublas.GetStatusString) &&
      find("cublasLtMatmulDescCreate", &cublas.MatmulDescCreate) &&
      find("cublasLtMatmulDescDestroy", &cublas.MatmulDescDestroy) &&
      find("cublasLtMatmulDescSetAttribute", &cublas.MatmulDescSetAttribute) &&
      find("cublasLtMatrixLayoutCreate", &cublas.MatrixLayoutCreate) &&
      find("cublasLtMatrixLayoutDestroy", &cublas.MatrixLayoutDestroy) &&
      find("cublasLtMatmulPreferenceCreate", &cublas.MatmulPreferenceCreate) &&
      find("cublasLtMatmulPreferenceDestroy", &cublas.MatmulPreferenceDestroy) &&
      find("cublasLtMatmulPreferenceSetAttribute", &cublas.MatmulPreferenceSetAttribute) &&
      find("cublasLtMatmulAlgoGetHeuristic", &cublas.MatmulAlgoGetHeuristic) &&
      find("cublasLtMatmul", &cublas.Matmul);
  if (!found) return absl::FailedPreconditionError(absl::StrCat(name, ": ", dlerror()));
  if (cublas.GetVersion() < kOldestVersion) {
    return absl::FailedPreconditionError(absl::StrCat(name, " is version ", cublas.GetVersion(),
                                                      ", wanted ", kOldestVersion, " or newer"));
  }
  return cublas;
}

}  // namespace baton::kernels::cuda
