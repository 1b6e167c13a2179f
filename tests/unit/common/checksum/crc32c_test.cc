#include "common/checksum/crc32c.h"

#include <cstring>
#include <random>
#include <vector>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

#include "common/checksum/crc32c_folding.h"

namespace baton {
namespace {

std::span<const std::byte> Bytes(absl::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::vector<std::byte> RandomBytes(size_t size) {
  std::mt19937 random(7);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

TEST(Crc32c, MatchesPublishedValues) {
  // RFC 3720, B.4; and the check value of the CRC catalogue.
  EXPECT_EQ(Crc32c({}), 0u);
  EXPECT_EQ(Crc32c(Bytes("123456789")), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::vector<std::byte>(32, std::byte{0})), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::vector<std::byte>(32, std::byte{0xFF})), 0x62A8AB43u);
}

TEST(Crc32c, AgreesWithTheTableForEveryLengthAndAlignment) {
  const auto bytes = RandomBytes(10000);
  for (size_t begin = 0; begin < 9; ++begin) {
    for (const size_t size : {0u, 1u, 7u, 8u, 9u, 511u, 512u, 1023u, 3071u, 6144u, 9991u}) {
      const auto part = std::span(bytes).subspan(begin, size);
      EXPECT_EQ(Crc32c(part), checksum_internal::ExtendCrc32cPortable(0, part))
          << begin << " " << size;
    }
  }
}

TEST(Crc32c, InstructionAndTableAgreeForEveryLengthAndAlignment) {
  if (!checksum_internal::HasCrc32cInstruction()) GTEST_SKIP() << "no crc32 instruction";
  const auto bytes = RandomBytes(10000);
  for (size_t begin = 0; begin < 9; ++begin) {
    for (const size_t size : {0u, 1u, 7u, 8u, 9u, 1023u, 3071u, 3072u, 3073u, 6144u, 9991u}) {
      const auto part = std::span(bytes).subspan(begin, size);
      EXPECT_EQ(checksum_internal::ExtendCrc32cInstruction(0x1234567u, part),
                checksum_internal::ExtendCrc32cPortable(0x1234567u, part))
          << begin << " " << size;
    }
  }
}

TEST(Crc32c, FoldingAndTableAgreeForEveryLengthAndAlignment) {
  if (!checksum_internal::HasCrc32cFolding()) GTEST_SKIP() << "no carry-less multiplication";
  constexpr size_t kLeast = checksum_internal::kLeastFoldedBytes;
  const auto bytes = RandomBytes(kLeast + 1200);
  for (size_t begin = 0; begin < 65; begin += 13) {
    // Every rest of a step, of a register and of 16 bytes.
    for (size_t size = kLeast; size + begin <= bytes.size(); ++size) {
      const auto part = std::span(bytes).subspan(begin, size);
      const auto crc = static_cast<uint32_t>(size * 0x9E3779B9u);
      ASSERT_EQ(checksum_internal::ExtendCrc32cFolded(crc, part),
                checksum_internal::ExtendCrc32cPortable(crc, part))
          << begin << " " << size;
    }
  }
}

TEST(Crc32c, ExtendsPiecewise) {
  const auto bytes = RandomBytes(8000);
  const auto all = std::span<const std::byte>(bytes);
  for (const size_t cut : {0u, 1u, 4000u, 7999u, 8000u}) {
    EXPECT_EQ(ExtendCrc32c(Crc32c(all.first(cut)), all.subspan(cut)), Crc32c(all));
  }
}

TEST(Crc32c, CopiesWhileItSums) {
  const auto bytes = RandomBytes(50001);
  std::vector<std::byte> copy(bytes.size());
  EXPECT_EQ(CopyWithCrc32c(copy.data(), bytes), Crc32c(bytes));
  EXPECT_EQ(copy, bytes);
}

TEST(Crc32c, SeesEveryFlippedBit) {
  auto bytes = RandomBytes(4096);
  const uint32_t right = Crc32c(bytes);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_NE(Crc32c(bytes), right) << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
  }
}

}  // namespace
}  // namespace baton
