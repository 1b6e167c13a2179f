#include "kernels/cpu/scratch.h"

#include <cstdint>
#include <cstring>

#include "gtest/gtest.h"

namespace baton::kernels::cpu {
namespace {

TEST(Scratch, PiecesAreAlignedAndDoNotOverlap) {
  Scratch scratch;
  char* first = scratch.Take<char>(100);
  char* second = scratch.Take<char>(1 << 20);  // beyond the first chunk
  char* third = scratch.Take<char>(1);
  for (char* piece : {first, second, third}) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(piece) % 64, 0u);
  }
  std::memset(first, 1, 100);
  std::memset(second, 2, 1 << 20);
  *third = 3;
  EXPECT_EQ(first[99], 1);
  EXPECT_EQ(second[(1 << 20) - 1], 2);
}

TEST(Scratch, GivesTheSameMemoryAfterItsLargestCall) {
  Scratch scratch;
  for (int call = 0; call < 2; ++call) {
    scratch.Reset();
    scratch.Take<float>(1000);
    scratch.Take<float>(1 << 20);
  }
  scratch.Reset();
  const float* first = scratch.Take<float>(1000);
  const float* second = scratch.Take<float>(1 << 20);
  scratch.Reset();
  EXPECT_EQ(scratch.Take<float>(1000), first);
  EXPECT_EQ(scratch.Take<float>(1 << 20), second);
}

TEST(Scratch, HoldsLittleMoreThanItsLargestCallNeeded) {
  constexpr int64_t kPiece = 1 << 20;
  Scratch scratch;
  for (int piece = 0; piece < 9; ++piece) scratch.Take<char>(kPiece);
  scratch.Reset();
  EXPECT_LE(scratch.bytes(), 9u * kPiece * 9 / 8);
  const size_t before = scratch.bytes();
  for (int piece = 0; piece < 9; ++piece) scratch.Take<char>(kPiece);
  EXPECT_EQ(scratch.bytes(), before);
}

}  // namespace
}  // namespace baton::kernels::cpu
