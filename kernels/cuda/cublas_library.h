// cuBLASLt, which a machine need not have: only products that are to go through it need it.
#pragma once

#include <cublasLt.h>

#include "absl/status/statusor.h"

namespace baton::kernels::cuda {

// What is used of it, under its own names.
struct CublasLibrary {
  decltype(&cublasLtCreate) Create = nullptr;
  decltype(&cublasLtDestroy) Destroy = nullptr;
  decltype(&cublasLtGetVersion) GetVersion = nullptr;
  decltype(&cublasLtGetStatusString) GetStatusString = nullptr;
  decltype(&cublasLtMatmulDescCreate) MatmulDescCreate = nullptr;
  decltype(&cublasLtMatmulDescDestroy) MatmulDescDestroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) MatmulDescSetAttribute = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) MatrixLayoutCreate = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) MatrixLayoutDestroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) MatmulPreferenceCreate = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) MatmulPreferenceDestroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) MatmulPreferenceSetAttribute = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) MatmulAlgoGetHeuristic = nullptr;
  decltype(&cublasLtMatmul) Matmul = nullptr;

  // Ends the process if the call failed: only a bug or a lost device can make it.
  void Check(cublasStatus_t status, const char* what) const;
};

// Loads the libcublasLt of the headers' major version and never unloads it. FailedPrecondition
// saying why it cannot be loaded, or that it is older than 12.9, which has no scales per block.
absl::StatusOr<CublasLibrary> LoadCublas();

}  // namespace baton::kernels::cuda
