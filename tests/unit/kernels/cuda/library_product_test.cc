#include "kernels/cuda/plan/library_product.h"

#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels::cuda {
namespace {

// o_proj of one of eight ranks.
LibraryProduct Product(int64_t m) {
  return {.type = DataType::kFloat8E4M3,
          .out_type = DataType::kFloat32,
          .m = m,
          .n = 7168,
          .k = 2048,
          .x_stride = 2048,
          .weight_stride = 2048,
          .out_stride = 7168};
}

// Gives each product a code of its own, or none.
class FakeSource final : public AlgorithmSource {
 public:
  std::optional<ProductAlgorithm> Choose(const LibraryProduct& product) override {
    asked.push_back(product.m);
    if (product.m < fewest_rows) return std::nullopt;
    return ProductAlgorithm{.code = {static_cast<uint64_t>(product.m)}};
  }

  int64_t fewest_rows = 0;
  std::vector<int64_t> asked;
};

TEST(LibraryProduct, LeavesFewRowsAndTheLastOnesToOurKernels) {
  for (const int64_t rows : {0, 1, 256, 511}) EXPECT_EQ(LibraryRows(rows), 0) << rows;
  EXPECT_EQ(LibraryRows(512), 512);
  EXPECT_EQ(LibraryRows(527), 512);
  EXPECT_EQ(LibraryRows(2048), 2048);
  EXPECT_EQ(LibraryRows(8191), 8176);
}

TEST(LibraryProduct, SuitsTheProductsOfOneRankOfR1ButTheRouters) {
  struct Shape {
    DataType type;
    int64_t n, k;
    bool suits;
  };
  constexpr DataType kFloat8 = DataType::kFloat8E4M3;
  for (const Shape& shape : {Shape{kFloat8, 1536, 7168, true},                 // q_a
                             Shape{kFloat8, 576, 7168, true},                  // kv_a
                             Shape{kFloat8, 3072, 1536, true},                 // q_b
                             Shape{kFloat8, 7168, 2048, true},                 // o
                             Shape{DataType::kBFloat16, 16160, 7168, true},    // head
                             Shape{DataType::kBFloat16, 256, 7168, false}}) {  // router
    LibraryProduct product = Product(2048);
    product.type = shape.type;
    product.n = product.out_stride = shape.n;
    product.k = product.x_stride = product.weight_stride = shape.k;
    EXPECT_EQ(SuitsLibrary(product), shape.suits) << shape.n << " x " << shape.k;
  }
}

TEST(LibraryProduct, SuitsNoRowsBesideSixteenBytes) {
  EXPECT_TRUE(SuitsLibrary(Product(512)));
  for (int64_t LibraryProduct::*member :
       {&LibraryProduct::m, &LibraryProduct::n, &LibraryProduct::k, &LibraryProduct::x_stride,
        &LibraryProduct::weight_stride, &LibraryProduct::out_stride}) {
    LibraryProduct product = Product(512);
    product.*member += 1;
    EXPECT_FALSE(SuitsLibrary(product));
  }
  LibraryProduct product = Product(512);
  product.k += 64;  // half a scale block
  EXPECT_FALSE(SuitsLibrary(product));
  product.type = DataType::kBFloat16;
  EXPECT_TRUE(SuitsLibrary(product));
  product.type = DataType::kFloat32;
  EXPECT_FALSE(SuitsLibrary(product));
}

// out^T = W x^T, in columns: what row-major matrices are to it.
TEST(LibraryProduct, IsLaidOutColumnByColumn) {
  LibraryProduct product = Product(512);
  product.x_stride = 2064;
  product.out_stride = 7200;
  const ProductLayout layout = LayOutProduct(product);
  EXPECT_EQ(layout.a, (ColumnMatrix{DataType::kFloat8E4M3, 2048, 7168, 2048}));
  EXPECT_EQ(layout.b, (ColumnMatrix{DataType::kFloat8E4M3, 2048, 512, 2064}));
  EXPECT_EQ(layout.d, (ColumnMatrix{DataType::kFloat32, 7168, 512, 7200}));
  EXPECT_EQ(layout.a_scales, ScaleShape::kBlock128x128);
  EXPECT_EQ(layout.b_scales, ScaleShape::kVector128);
  product.type = DataType::kBFloat16;
  EXPECT_EQ(LayOutProduct(product).a_scales, ScaleShape::kNone);
  EXPECT_EQ(LayOutProduct(product).b_scales, ScaleShape::kNone);
}

TEST(ProductAlgorithms, AreChosenByTheLargestStepForAllSmallerOnes) {
  FakeSource source;
  ProductAlgorithms algorithms(&source);
  ASSERT_NE(algorithms.Find(Product(8192)), nullptr);
  EXPECT_EQ(source.asked, (std::vector<int64_t>{8192, 4096, 2048, 1024, 512}));
  EXPECT_EQ(algorithms.Find(Product(512))->code[0], 512u);
  EXPECT_EQ(algorithms.Find(Product(528))->code[0], 1024u);
  EXPECT_EQ(algorithms.Find(Product(4096))->code[0], 4096u);
  EXPECT_EQ(algorithms.Find(Product(4112))->code[0], 8192u);
  EXPECT_EQ(source.asked.size(), 5u) << "a step asks nothing";
}

TEST(ProductAlgorithms, AreNamedOnceForTheDeviceToRun) {
  FakeSource source;
  source.fewest_rows = 1024;
  ProductAlgorithms algorithms(&source);
  algorithms.Find(Product(4096));
  const std::vector<LibraryProduct> chosen = algorithms.TakeChosen();
  ASSERT_EQ(chosen.size(), 3u);
  EXPECT_EQ(chosen[0], Product(4096));
  EXPECT_EQ(chosen[1], Product(2048));
  EXPECT_EQ(chosen[2], Product(1024));
  algorithms.Find(Product(2064));
  EXPECT_TRUE(algorithms.TakeChosen().empty());
}

TEST(ProductAlgorithms, ToldApartByAllButTheNumberOfRows) {
  FakeSource source;
  ProductAlgorithms algorithms(&source);
  algorithms.Find(Product(512));
  for (int64_t LibraryProduct::*member :
       {&LibraryProduct::n, &LibraryProduct::k, &LibraryProduct::x_stride,
        &LibraryProduct::weight_stride, &LibraryProduct::out_stride}) {
    LibraryProduct product = Product(512);
    product.*member *= 2;
    source.asked.clear();
    algorithms.Find(product);
    EXPECT_EQ(source.asked.size(), 1u);
  }
  LibraryProduct product = Product(512);
  product.out_type = DataType::kBFloat16;
  source.asked.clear();
  algorithms.Find(product);
  EXPECT_EQ(source.asked.size(), 1u);
}

TEST(ProductAlgorithms, ThatAreNotThereLeaveTheProductToOurKernels) {
  FakeSource source;
  source.fewest_rows = 2048;
  ProductAlgorithms algorithms(&source);
  EXPECT_NE(algorithms.Find(Product(2048)), nullptr);
  EXPECT_EQ(algorithms.Find(Product(1024)), nullptr);
  EXPECT_EQ(source.asked.size(), 3u) << "and are not asked for again";
}

TEST(ProductAlgorithms, ThatRefuseAProductAreNotTriedAgain) {
  FakeSource source;
  ProductAlgorithms algorithms(&source);
  algorithms.Find(Product(2048));
  algorithms.Drop(Product(1040));
  EXPECT_EQ(algorithms.Find(Product(2048)), nullptr);
  EXPECT_NE(algorithms.Find(Product(1024)), nullptr);
  EXPECT_EQ(source.asked.size(), 3u);
}

}  // namespace
}  // namespace baton::kernels::cuda
