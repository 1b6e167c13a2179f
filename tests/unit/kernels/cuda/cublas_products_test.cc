// What cuBLASLt is told, with functions in the library's place that write it down; and that the
// library itself takes such descriptors, where it is installed. No GPU is needed.
#include "kernels/cuda/cublas_products.h"

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels::cuda {
namespace {

struct FakeMatrix {
  cudaDataType type;
  uint64_t rows, columns;
  int64_t leading;
};

// What the functions below were told last. Reset by each test.
struct FakeState {
  int num_open = 0;  // descriptors
  std::map<cublasLtMatmulDescAttributes_t, std::vector<char>> operation;
  std::map<cublasLtMatmulPreferenceAttributes_t, std::vector<char>> preference;
  std::vector<FakeMatrix> matrices;  // in the order given to the last choice or product
  cublasStatus_t heuristic_status = CUBLAS_STATUS_SUCCESS;
  int num_algorithms = 1;
  cublasStatus_t product_status = CUBLAS_STATUS_SUCCESS;
  uint64_t algorithm = 0;  // of the last product
  std::vector<const void*> operands;
  size_t workspace_bytes = 0;
  float alpha = -1.0f;
  float beta = -1.0f;
};

FakeState& State() {
  static FakeState state;
  return state;
}

template <typename Descriptor>
Descriptor Open(size_t bytes) {
  ++State().num_open;
  return reinterpret_cast<Descriptor>(new char[bytes]);
}
template <typename Descriptor>
cublasStatus_t Close(Descriptor descriptor) {
  --State().num_open;
  delete[] reinterpret_cast<char*>(descriptor);
  return CUBLAS_STATUS_SUCCESS;
}
std::vector<char> Bytes(const void* value, size_t size) {
  const char* begin = static_cast<const char*>(value);
  return {begin, begin + size};
}
void Note(std::initializer_list<cublasLtMatrixLayout_t> matrices) {
  State().matrices.clear();
  for (const cublasLtMatrixLayout_t matrix : matrices) {
    State().matrices.push_back(*reinterpret_cast<const FakeMatrix*>(matrix));
  }
}

void FakeDescriptors(CublasLibrary& library) {
  library.MatmulDescCreate = [](cublasLtMatmulDesc_t* operation, cublasComputeType_t compute,
                                cudaDataType_t scale) {
    EXPECT_EQ(compute, CUBLAS_COMPUTE_32F);
    EXPECT_EQ(scale, CUDA_R_32F);
    State().operation.clear();
    *operation = Open<cublasLtMatmulDesc_t>(1);
    return CUBLAS_STATUS_SUCCESS;
  };
  library.MatmulDescDestroy = [](cublasLtMatmulDesc_t operation) { return Close(operation); };
  library.MatmulDescSetAttribute = [](cublasLtMatmulDesc_t,
                                      cublasLtMatmulDescAttributes_t attribute, const void* value,
                                      size_t size) {
    State().operation[attribute] = Bytes(value, size);
    return CUBLAS_STATUS_SUCCESS;
  };
  library.MatrixLayoutCreate = [](cublasLtMatrixLayout_t* matrix, cudaDataType type, uint64_t rows,
                                  uint64_t columns, int64_t leading) {
    *matrix = Open<cublasLtMatrixLayout_t>(sizeof(FakeMatrix));
    new (*matrix) FakeMatrix{type, rows, columns, leading};
    return CUBLAS_STATUS_SUCCESS;
  };
  library.MatrixLayoutDestroy = [](cublasLtMatrixLayout_t matrix) { return Close(matrix); };
  library.MatmulPreferenceCreate = [](cublasLtMatmulPreference_t* preference) {
    State().preference.clear();
    *preference = Open<cublasLtMatmulPreference_t>(1);
    return CUBLAS_STATUS_SUCCESS;
  };
  library.MatmulPreferenceDestroy = [](cublasLtMatmulPreference_t preference) {
    return Close(preference);
  };
  library.MatmulPreferenceSetAttribute = [](cublasLtMatmulPreference_t,
                                            cublasLtMatmulPreferenceAttributes_t attribute,
                                            const void* value, size_t size) {
    State().preference[attribute] = Bytes(value, size);
    return CUBLAS_STATUS_SUCCESS;
  };
}

CublasLibrary FakeLibrary() {
  CublasLibrary library;
  FakeDescriptors(library);
  library.Create = [](cublasLtHandle_t* handle) {
    *handle = reinterpret_cast<cublasLtHandle_t>(uintptr_t{1});
    return CUBLAS_STATUS_SUCCESS;
  };
  library.Destroy = [](cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; };
  library.GetStatusString = [](cublasStatus_t) { return "as the test said"; };
  library.MatmulAlgoGetHeuristic =
      [](cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
         cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t,
         int num_wanted, cublasLtMatmulHeuristicResult_t* results, int* num_found) {
        EXPECT_EQ(num_wanted, 1);
        Note({a, b, c, d});
        *num_found = State().num_algorithms;
        results[0] = {};
        results[0].algo.data[0] = 4711;
        results[0].workspaceSize = 1024;
        return State().heuristic_status;
      };
  library.Matmul = [](cublasLtHandle_t, cublasLtMatmulDesc_t, const void* alpha, const void* a,
                      cublasLtMatrixLayout_t a_layout, const void* b,
                      cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                      cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                      const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                      size_t workspace_bytes, cudaStream_t) {
    Note({a_layout, b_layout, c_layout, d_layout});
    State().operands = {a, b, c, d, workspace};
    State().workspace_bytes = workspace_bytes;
    State().alpha = *static_cast<const float*>(alpha);
    State().beta = *static_cast<const float*>(beta);
    State().algorithm = algorithm->data[0];
    return State().product_status;
  };
  return library;
}

template <typename Value, typename Attributes, typename Attribute>
Value ValueOf(const Attributes& attributes, Attribute attribute) {
  const auto found = attributes.find(attribute);
  Value value = {};
  EXPECT_TRUE(found != attributes.end() && found->second.size() == sizeof(value)) << attribute;
  if (found != attributes.end()) std::memcpy(&value, found->second.data(), sizeof(value));
  return value;
}

class CublasProductsTest : public testing::Test {
 protected:
  CublasProductsTest() {
    State() = {};
    products_ = CublasProducts::Create(FakeLibrary()).value();
  }
  ~CublasProductsTest() override { EXPECT_EQ(State().num_open, 0) << "descriptors are left"; }

  static LibraryProduct Product(DataType type) {
    return {.type = type,
            .out_type = DataType::kBFloat16,
            .m = 1024,
            .n = 576,
            .k = 7168,
            .x_stride = 7168,
            .weight_stride = 7168,
            .out_stride = 640};
  }
  static void ExpectMatrix(const FakeMatrix& matrix, const FakeMatrix& expected) {
    EXPECT_EQ(matrix.type, expected.type);
    EXPECT_EQ(matrix.rows, expected.rows);
    EXPECT_EQ(matrix.columns, expected.columns);
    EXPECT_EQ(matrix.leading, expected.leading);
  }

  std::unique_ptr<CublasProducts> products_;
};

TEST_F(CublasProductsTest, DescribeFloat8WithItsScales) {
  const auto algorithm = products_->Choose(Product(DataType::kFloat8E4M3));
  ASSERT_TRUE(algorithm.has_value());
  EXPECT_EQ(algorithm->code[0], 4711u);
  EXPECT_EQ(algorithm->workspace_bytes, 1024u);
  const auto& operation = State().operation;
  EXPECT_EQ(ValueOf<int32_t>(operation, CUBLASLT_MATMUL_DESC_TRANSA), CUBLAS_OP_T);
  EXPECT_EQ(ValueOf<int32_t>(operation, CUBLASLT_MATMUL_DESC_TRANSB), CUBLAS_OP_N);
  EXPECT_EQ(ValueOf<int32_t>(operation, CUBLASLT_MATMUL_DESC_A_SCALE_MODE),
            CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F);
  EXPECT_EQ(ValueOf<int32_t>(operation, CUBLASLT_MATMUL_DESC_B_SCALE_MODE),
            CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F);
  EXPECT_NE(ValueOf<const void*>(operation, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER), nullptr);
  EXPECT_NE(ValueOf<const void*>(operation, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER), nullptr);
  ASSERT_EQ(State().matrices.size(), 4u);
  ExpectMatrix(State().matrices[0], {CUDA_R_8F_E4M3, 7168, 576, 7168});
  ExpectMatrix(State().matrices[1], {CUDA_R_8F_E4M3, 7168, 1024, 7168});
  ExpectMatrix(State().matrices[2], {CUDA_R_16BF, 576, 1024, 640});
  ExpectMatrix(State().matrices[3], {CUDA_R_16BF, 576, 1024, 640});
}

TEST_F(CublasProductsTest, AskForAlgorithmsThatSplitNothingAndTakeOurAddresses) {
  ASSERT_TRUE(products_->Choose(Product(DataType::kBFloat16)).has_value());
  EXPECT_FALSE(State().operation.contains(CUBLASLT_MATMUL_DESC_A_SCALE_MODE));
  const auto& preference = State().preference;
  EXPECT_EQ(ValueOf<uint64_t>(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES),
            kLibraryWorkspaceBytes);
  EXPECT_EQ(ValueOf<uint32_t>(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK),
            CUBLASLT_REDUCTION_SCHEME_NONE);
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    EXPECT_EQ(ValueOf<uint32_t>(preference, attribute), 16u);
  }
}

TEST_F(CublasProductsTest, ChooseNothingWhereTheLibraryHasNothing) {
  State().num_algorithms = 0;
  EXPECT_FALSE(products_->Choose(Product(DataType::kFloat8E4M3)).has_value());
  State().num_algorithms = 1;
  State().heuristic_status = CUBLAS_STATUS_NOT_SUPPORTED;
  EXPECT_FALSE(products_->Choose(Product(DataType::kFloat8E4M3)).has_value());
}

TEST_F(CublasProductsTest, MultiplyWithTheirAlgorithmAndOperands) {
  const LibraryProduct product = Product(DataType::kFloat8E4M3);
  float memory[6] = {};
  const ProductOperands operands = {&memory[0], &memory[1], &memory[2], &memory[3], &memory[4]};
  ASSERT_TRUE(products_->Multiply(product, {.code = {42}, .workspace_bytes = 77}, operands,
                                  &memory[5], nullptr));
  EXPECT_EQ(State().algorithm, 42u);
  EXPECT_EQ(State().operands,
            (std::vector<const void*>{&memory[2], &memory[0], &memory[4], &memory[4], &memory[5]}));
  EXPECT_EQ(State().workspace_bytes, 77u);
  EXPECT_EQ(State().alpha, 1.0f);
  EXPECT_EQ(State().beta, 0.0f);
  EXPECT_EQ(ValueOf<const void*>(State().operation, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER),
            &memory[3]);
  EXPECT_EQ(ValueOf<const void*>(State().operation, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER),
            &memory[1]);
}

TEST_F(CublasProductsTest, SayWhereTheLibraryRefuses) {
  State().product_status = CUBLAS_STATUS_NOT_SUPPORTED;
  EXPECT_FALSE(products_->Multiply(Product(DataType::kBFloat16), {}, {}, nullptr, nullptr));
}

using CublasProductsDeathTest = CublasProductsTest;

TEST_F(CublasProductsDeathTest, EndTheProcessIfTheDeviceFails) {
  State().product_status = CUBLAS_STATUS_EXECUTION_FAILED;
  EXPECT_DEATH(products_->Multiply(Product(DataType::kBFloat16), {}, {}, nullptr, nullptr),
               "a product: cuBLASLt: as the test said");
}

// The library's own functions for descriptors, with the fake's for the rest.
TEST_F(CublasProductsTest, AreDescribedAsTheLibraryItselfTakesIt) {
  const absl::StatusOr<CublasLibrary> installed = LoadCublas();
  if (!installed.ok()) GTEST_SKIP() << installed.status();
  CublasLibrary library = *installed;
  const CublasLibrary fake = FakeLibrary();
  library.Create = fake.Create;
  library.Destroy = fake.Destroy;
  library.MatmulAlgoGetHeuristic =
      [](cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
         cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int,
         cublasLtMatmulHeuristicResult_t*, int* num_found) {
        *num_found = 1;
        return CUBLAS_STATUS_SUCCESS;
      };
  const auto products = CublasProducts::Create(library).value();
  for (const DataType type : {DataType::kFloat8E4M3, DataType::kBFloat16}) {
    EXPECT_TRUE(products->Choose(Product(type)).has_value());  // or a check ended the process
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
