#include "kernels/cuda/cublas_products.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "common/log/log.h"

namespace baton::kernels::cuda {
namespace {

static_assert(sizeof(cublasLtMatmulAlgo_t) == sizeof(ProductAlgorithm::code));

// What every address is a multiple of: the library supposes 256 unless it is told.
constexpr uint32_t kOperandAlignment = 16;

cudaDataType_t CudaType(DataType type) {
  switch (type) {
    case DataType::kFloat8E4M3:
      return CUDA_R_8F_E4M3;
    case DataType::kBFloat16:
      return CUDA_R_16BF;
    default:
      BATON_CHECK(type == DataType::kFloat32);
      return CUDA_R_32F;
  }
}

int32_t ScaleMode(ScaleShape shape) {
  switch (shape) {
    case ScaleShape::kVector128:
      return CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F;
    case ScaleShape::kBlock128x128:
      return CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F;
    case ScaleShape::kNone:
      break;
  }
  return CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F;
}

// The library's descriptors of one product: host memory of its own, which goes with them.
class Descriptors {
 public:
  Descriptors(const CublasLibrary& library, const LibraryProduct& product,
              const ProductOperands& operands)
      : library_(library) {
    const ProductLayout layout = LayOutProduct(product);
    library_.Check(library_.MatmulDescCreate(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                   "describing a product");
    Set(CUBLASLT_MATMUL_DESC_TRANSA, int32_t{CUBLAS_OP_T});
    Set(CUBLASLT_MATMUL_DESC_TRANSB, int32_t{CUBLAS_OP_N});
    if (layout.a_scales != ScaleShape::kNone) {
      Set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, ScaleMode(layout.a_scales));
      Set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, ScaleMode(layout.b_scales));
      Set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, static_cast<const void*>(operands.weight_scales));
      Set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, static_cast<const void*>(operands.x_scales));
    }
    a_ = Describe(layout.a);
    b_ = Describe(layout.b);
    d_ = Describe(layout.d);
  }
  ~Descriptors() {
    for (cublasLtMatrixLayout_t matrix : {a_, b_, d_}) library_.MatrixLayoutDestroy(matrix);
    library_.MatmulDescDestroy(operation_);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  cublasLtMatmulDesc_t operation() const { return operation_; }
  cublasLtMatrixLayout_t a() const { return a_; }
  cublasLtMatrixLayout_t b() const { return b_; }
  cublasLtMatrixLayout_t d() const { return d_; }

 private:
  template <typename Value>
  void Set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    library_.Check(library_.MatmulDescSetAttribute(operation_, attribute, &value, sizeof(value)),
                   "describing a product");
  }
  cublasLtMatrixLayout_t Describe(const ColumnMatrix& matrix) {
    cublasLtMatrixLayout_t layout = nullptr;
    library_.Check(library_.MatrixLayoutCreate(
                       &layout, CudaType(matrix.type), static_cast<uint64_t>(matrix.rows),
                       static_cast<uint64_t>(matrix.columns), matrix.leading),
                   "describing a matrix");
    return layout;
  }

  const CublasLibrary& library_;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr;
  cublasLtMatrixLayout_t b_ = nullptr;
  cublasLtMatrixLayout_t d_ = nullptr;
};

// What an algorithm may do.
class Preference {
 public:
  explicit Preference(const CublasLibrary& library) : library_(library) {
    library_.Check(library_.MatmulPreferenceCreate(&preference_), "choosing an algorithm");
    Set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kLibraryWorkspaceBytes});
    Set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE});
    Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, kOperandAlignment);
    Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, kOperandAlignment);
    Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, kOperandAlignment);
    Set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, kOperandAlignment);
  }
  ~Preference() { library_.MatmulPreferenceDestroy(preference_); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;

  cublasLtMatmulPreference_t get() const { return preference_; }

 private:
  template <typename Value>
  void Set(cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
    library_.Check(
        library_.MatmulPreferenceSetAttribute(preference_, attribute, &value, sizeof(value)),
        "choosing an algorithm");
  }

  const CublasLibrary& library_;
  cublasLtMatmulPreference_t preference_ = nullptr;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CublasProducts>> CublasProducts::Create(
    const CublasLibrary& library) {
  cublasLtHandle_t handle = nullptr;
  const cublasStatus_t status = library.Create(&handle);
  if (status != CUBLAS_STATUS_SUCCESS) {
    return absl::FailedPreconditionError(
        absl::StrCat("cuBLASLt: ", library.GetStatusString(status)));
  }
  return std::unique_ptr<CublasProducts>(new CublasProducts(library, handle));
}

CublasProducts::~CublasProducts() { library_.Destroy(handle_); }

std::optional<ProductAlgorithm> CublasProducts::Choose(const LibraryProduct& product) {
  ProductOperands operands;
  // Nobody reads scales here, but without an address they count as absent.
  operands.x_scales = operands.weight_scales =
      reinterpret_cast<const float*>(uintptr_t{kOperandAlignment});
  const Descriptors descriptors(library_, product, operands);
  const Preference preference(library_);
  cublasLtMatmulHeuristicResult_t found = {};
  int num_found = 0;
  const cublasStatus_t status = library_.MatmulAlgoGetHeuristic(
      handle_, descriptors.operation(), descriptors.a(), descriptors.b(), descriptors.d(),
      descriptors.d(), preference.get(), 1, &found, &num_found);
  const bool usable = status == CUBLAS_STATUS_SUCCESS && num_found > 0 &&
                      found.state == CUBLAS_STATUS_SUCCESS &&
                      found.workspaceSize <= kLibraryWorkspaceBytes;
  if (!usable) {
    BATON_LOG(INFO) << "cuBLASLt has no algorithm for " << Name(product.type) << " products of "
                    << product.m << " x " << product.n << " x " << product.k << " ("
                    << library_.GetStatusString(status) << "): they take Baton's own kernels";
    return std::nullopt;
  }
  ProductAlgorithm algorithm;
  std::memcpy(algorithm.code.data(), &found.algo, sizeof(found.algo));
  algorithm.workspace_bytes = found.workspaceSize;
  return algorithm;
}

bool CublasProducts::Multiply(const LibraryProduct& product, const ProductAlgorithm& algorithm,
                              const ProductOperands& operands, void* workspace,
                              cudaStream_t stream) {
  const Descriptors descriptors(library_, product, operands);
  cublasLtMatmulAlgo_t algo = {};
  std::memcpy(&algo, algorithm.code.data(), sizeof(algo));
  const float one = 1.0f;
  const float zero = 0.0f;
  const cublasStatus_t status = library_.Matmul(
      handle_, descriptors.operation(), &one, operands.weight, descriptors.a(), operands.x,
      descriptors.b(), &zero, operands.out, descriptors.d(), operands.out, descriptors.d(), &algo,
      workspace, algorithm.workspace_bytes, stream);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) {
    BATON_LOG(WARNING) << "cuBLASLt refuses " << Name(product.type) << " products of " << product.m
                       << " x " << product.n << " x " << product.k << " ("
                       << library_.GetStatusString(status) << "): they take Baton's own kernels";
    return false;
  }
  library_.Check(status, "a product");
  return true;
}

}  // namespace baton::kernels::cuda
