#include "tests/bench/cuda_floors.h"

#include "gtest/gtest.h"

namespace baton::kernels {
namespace {

constexpr DataType kFp8 = DataType::kFloat8E4M3;
constexpr DataType kBf16 = DataType::kBFloat16;
constexpr DataType kFp32 = DataType::kFloat32;

// Microseconds worked out by hand, from the shapes of one of eight ranks, bytes at 4.3 TB/s.
void ExpectMicroseconds(const Floor& floor, double expected, double share = 0.01) {
  EXPECT_NEAR(floor.microseconds(), expected, expected * share);
}

TEST(CudaFloors, ProductsOfOneRowReadTheirWeight) {
  ExpectMicroseconds(LinearFloor(kFp8, 2112, 7168, 1, kBf16), 3.52);
  ExpectMicroseconds(LinearFloor(kFp8, 3072, 1536, 1, kBf16), 1.10);
  ExpectMicroseconds(LinearFloor(kFp8, 7168, 2048, 1, kFp32), 3.42);
  ExpectMicroseconds(LinearFloor(kBf16, 256, 7168, 1, kFp32), 0.857);
  ExpectMicroseconds(LinearFloor(kBf16, 512, 128, 1, kBf16, 16), 0.49, 0.02);
}

TEST(CudaFloors, ProductsOfAChunkMultiply) {
  ExpectMicroseconds(LinearFloor(kFp8, 2112, 7168, 2048, kBf16), 41.3);
  ExpectMicroseconds(LinearFloor(kFp8, 3072, 1536, 2048, kBf16), 12.9);
  ExpectMicroseconds(LinearFloor(kFp8, 7168, 2048, 2048, kFp32), 40.1);
  ExpectMicroseconds(LinearFloor(kBf16, 256, 7168, 2048, kFp32), 9.5);
}

TEST(CudaFloors, ExpertsReadTheWeightsOfThoseChosen) {
  EXPECT_DOUBLE_EQ(DistinctExperts(1), 8.0);
  EXPECT_NEAR(DistinctExperts(8), 57.4, 0.1);
  EXPECT_NEAR(DistinctExperts(64), 222.0, 0.5);
  EXPECT_NEAR(DistinctExperts(128), 252.0, 0.5);
  ExpectMicroseconds(ExpertGateUpFloor(1, DistinctExperts(1), false), 6.83);
  ExpectMicroseconds(ExpertGateUpFloor(64, DistinctExperts(64), false), 190.1);
  ExpectMicroseconds(ExpertGateUpFloor(128, DistinctExperts(128), false), 215.3);
  ExpectMicroseconds(ExpertGateUpFloor(2048, 256.0, false), 225.9, 0.02);
  ExpectMicroseconds(ExpertDownFloor(1, DistinctExperts(1), false), 3.42, 0.02);
  // The shared one is one more.
  const double shared = ExpertGateUpFloor(1, 8.0).bytes - ExpertGateUpFloor(1, 8.0, false).bytes;
  EXPECT_NEAR(shared, 512.0 * 7168.0, 4000.0);
  EXPECT_LT(
      ExpertsFloor(128, 252.0).microseconds(),
      ExpertGateUpFloor(128, 252.0).microseconds() + ExpertDownFloor(128, 252.0).microseconds());
}

TEST(CudaFloors, AttentionReadsItsKeysOrMultipliesThem) {
  ExpectMicroseconds(DecodeAttentionFloor(1, 4096), 1.11);
  ExpectMicroseconds(DecodeAttentionFloor(64, 4096), 70.8);
  ExpectMicroseconds(DecodeAttentionFloor(128, 4096), 141.5);
  // 2048 * 2049 / 2 pairs, 16 heads, 1088 products each.
  ExpectMicroseconds(PrefillAttentionFloor(2048), 92.5);
}

TEST(CudaFloors, OperationsOnRowsMoveEachByteOnce) {
  EXPECT_DOUBLE_EQ(NormFloor(3, 7168).bytes, 3.0 * 7168 * 4);
  EXPECT_DOUBLE_EQ(AddNormFloor(3, 7168).bytes, 3.0 * 7168 * 10);
  EXPECT_DOUBLE_EQ(AddFloor(3, 7168).bytes, 3.0 * 7168 * 8);
  EXPECT_DOUBLE_EQ(QuantiseFloor(2, 256).bytes, 2.0 * (256 * 3 + 2 * 4));
  EXPECT_DOUBLE_EQ(RopeFloor(2, 16).bytes, 2.0 * (16 * 64 * 4 + 64 * 4));
  EXPECT_DOUBLE_EQ(KvWriteFloor(2).bytes, 2.0 * 576 * 4);
  EXPECT_DOUBLE_EQ(EmbedFloor(2).bytes, 2.0 * 7168 * 6);
  EXPECT_DOUBLE_EQ(RouterFloor(2).bytes, 2.0 * (256 * 4 + 8 * 8));
  EXPECT_DOUBLE_EQ(DrawFloor(2, 129280).bytes, 2.0 * 129280 * 4);
  EXPECT_DOUBLE_EQ(SumFloor(2, 7168).bytes, 2.0 * 7168 * 4 * 9);
  EXPECT_DOUBLE_EQ(GatherFloor(2, 16160).bytes, 2.0 * 16160 * 8 * 8);
  EXPECT_DOUBLE_EQ(ScheduleFloor(2).bytes, 2.0 * (8 * 4 + 9 * 4));
  EXPECT_DOUBLE_EQ(ExpertCombineFloor(2).bytes, 2.0 * 7168 * 4 * 10);
}

TEST(CudaFloors, TakeTheLongerOfBytesAndArithmetic) {
  EXPECT_DOUBLE_EQ((Floor{4.3e6, 1.5e9}).microseconds(), 1.0);
  EXPECT_DOUBLE_EQ((Floor{4.3e6, 3.0e9}).microseconds(), 2.0);
  EXPECT_DOUBLE_EQ((Floor{8.6e6, 1.5e9}).microseconds(), 2.0);
  EXPECT_DOUBLE_EQ((Floor{0.0, 7.9e8, kBFloat16OpsPerMicrosecond}).microseconds(), 1.0);
}

}  // namespace
}  // namespace baton::kernels
