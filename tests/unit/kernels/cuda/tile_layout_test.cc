#include "kernels/cuda/plan/tile_layout.h"

#include <set>
#include <utility>

#include "gtest/gtest.h"

namespace baton::kernels::cuda {
namespace {

// What the tensor cores make of a descriptor: the byte of element (row, byte along k) of a k-major
// operand, and of element (m, k) of an m-major one of 16-bit elements, as the PTX ISA's canonical
// layouts have it: strides first, then the swizzle on address bits.
uint32_t Field(uint64_t descriptor, int shift) {
  return static_cast<uint32_t>(descriptor >> shift & 0x3fff) << 4;
}
uint32_t Swizzle(uint32_t address) { return address ^ ((address >> 7 & 7) << 4); }
uint32_t KMajorAddress(uint64_t descriptor, int row, int byte) {
  return Swizzle(Field(descriptor, 0) + row / 8 * Field(descriptor, 32) + row % 8 * 128 + byte);
}
uint32_t MnMajorAddress(uint64_t descriptor, int m, int k) {
  return Swizzle(Field(descriptor, 0) + m / 64 * Field(descriptor, 16) + m % 64 * 2 +
                 k / 8 * Field(descriptor, 32) + k % 8 * 128);
}

TEST(TileLayout, SwizzleKeepsChunksAndFillsTheTile) {
  std::set<uint32_t> offsets;
  for (uint32_t row = 0; row < 64; ++row) {
    for (uint32_t byte = 0; byte < 128; ++byte) {
      const uint32_t offset = SwizzledOffset(row, byte);
      EXPECT_EQ(offset / 128, row);
      EXPECT_EQ(offset % 16, byte % 16);
      offsets.insert(offset);
    }
  }
  EXPECT_EQ(offsets.size(), 64u * 128u);
  EXPECT_EQ(*offsets.rbegin(), 64u * 128u - 1);
}

TEST(TileLayout, EightRowsOfAChunkMeetAllBanks) {
  for (uint32_t chunk = 0; chunk < 8; ++chunk) {
    std::set<uint32_t> banks;
    for (uint32_t row = 0; row < 8; ++row) {
      banks.insert(SwizzledOffset(row, chunk * 16) % 128 / 16);
    }
    EXPECT_EQ(banks.size(), 8u);
  }
}

TEST(TileLayout, DescriptorHasItsFields) {
  const uint64_t descriptor = MatrixDescriptor(0x2c400, 8192, 1024);
  EXPECT_EQ(descriptor & 0x3fff, 0x2c400u >> 4);
  EXPECT_EQ(descriptor >> 16 & 0x3fff, 8192u >> 4);
  EXPECT_EQ(descriptor >> 32 & 0x3fff, 1024u >> 4);
  EXPECT_EQ(descriptor >> 62, 1u);
  EXPECT_EQ(descriptor & ~(0x3fffull | 0x3fffull << 16 | 0x3fffull << 32 | 1ull << 62), 0u);
}

TEST(TileLayout, KMajorDescriptorsReadWhatCopiesWrote) {
  const uint32_t base = 5 * kAtomBytes;
  for (int step = 0; step < 4; ++step) {
    const uint64_t descriptor = KMajorDescriptor(base) + 2 * step;
    for (int row = 0; row < 64; ++row) {
      for (int byte = 0; byte < 32; ++byte) {
        EXPECT_EQ(KMajorAddress(descriptor, row, byte),
                  base + SwizzledOffset(row, step * 32 + byte));
      }
    }
  }
}

TEST(TileLayout, MnMajorDescriptorsReadWhatCopiesWrote) {
  // Values: rows are keys, columns are latents in chunks of 64; a step of the product takes 16
  // keys.
  const uint32_t base = 9 * kAtomBytes;
  const uint32_t chunk_bytes = 64 * kAtomRowBytes;
  for (int step = 0; step < 4; ++step) {
    const uint64_t descriptor = MnMajorDescriptor(base + step * 2 * kAtomBytes, chunk_bytes);
    for (int latent = 0; latent < 128; ++latent) {
      for (int key = 0; key < 16; ++key) {
        EXPECT_EQ(
            MnMajorAddress(descriptor, latent, key),
            base + latent / 64 * chunk_bytes + SwizzledOffset(step * 16 + key, latent % 64 * 2));
      }
    }
  }
}

TEST(TileLayout, ResultRegistersHoldEachElementOnce) {
  for (const int columns : {8, 16, 32, 64}) {
    std::set<std::pair<int, int>> seen;
    for (int thread = 0; thread < 128; ++thread) {
      for (int i = 0; i < columns / 2; ++i) {
        const FragmentElement element = ResultElement(thread, i);
        EXPECT_EQ(element.row / 16, thread / 32);
        EXPECT_LT(element.column, columns);
        seen.insert({element.row, element.column});
      }
    }
    EXPECT_EQ(seen.size(), 64u * columns);
  }
}

TEST(TileLayout, PartsAreEvenAndCoverEverything) {
  for (int total = 0; total < 70; ++total) {
    for (int parts = 1; parts <= 8; ++parts) {
      EXPECT_EQ(PartBegin(total, parts, 0), 0);
      EXPECT_EQ(PartBegin(total, parts, parts), total);
      for (int part = 0; part < parts; ++part) {
        const int size = PartBegin(total, parts, part + 1) - PartBegin(total, parts, part);
        EXPECT_GE(size, total / parts);
        EXPECT_LE(size, CeilDiv(total, parts));
      }
    }
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
