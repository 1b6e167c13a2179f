#include "kernels/cpu/weight_arena.h"

#include <cstdint>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels::cpu {
namespace {

TEST(WeightArena, GivesZeroedAlignedPiecesThatDoNotOverlap) {
  WeightArena arena;
  std::vector<WeightMemory> pieces;
  for (const size_t bytes : {1, 64, 100, 4096, 70'000'000, 7}) {
    WeightMemory piece = arena.Take(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(piece.get()) % 64, 0u);
    for (size_t i = 0; i < bytes; i += 97) {
      ASSERT_EQ(piece.get()[i], std::byte{0}) << bytes << " bytes, at " << i;
    }
    std::fill(piece.get(), piece.get() + bytes, std::byte{0xff});
    pieces.push_back(std::move(piece));
  }
}

TEST(WeightArena, PiecesOutliveTheArenaAndEachOther) {
  WeightMemory second;
  {
    WeightArena arena;
    const WeightMemory first = arena.Take(1000);
    second = arena.Take(1000);
    second.get()[999] = std::byte{5};
  }
  EXPECT_EQ(second.get()[999], std::byte{5});
}

TEST(WeightArena, PutsPiecesOfOneMappingSideBySide) {
  WeightArena arena;
  const WeightMemory first = arena.Take(100);
  const WeightMemory second = arena.Take(100);
  EXPECT_EQ(second.get() - first.get(), 128);
}

TEST(WeightArena, NothingIsNull) {
  WeightArena arena;
  EXPECT_EQ(arena.Take(0), nullptr);
}

}  // namespace
}  // namespace baton::kernels::cpu
