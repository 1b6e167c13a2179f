#include "kernels/cpu/compact_panel.h"

#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels::cpu {
namespace {

class CompactPanelTest : public ::testing::TestWithParam<int64_t> {
 protected:
  int64_t vector() const { return GetParam(); }

  bool Write(const std::vector<BFloat16>& plain) {
    padded_k_ = static_cast<int64_t>(plain.size()) / kPanelColumns;
    panel_.assign(static_cast<size_t>(CompactPanelBytes(padded_k_)), std::byte{0xcc});
    return WriteCompactPanel(plain.data(), padded_k_, vector(), panel_.data());
  }

  std::vector<uint32_t> Strays() const {
    std::vector<uint32_t> strays;
    const std::byte* from = panel_.data() + CompactStrayOffset(padded_k_);
    for (; from < panel_.data() + panel_.size(); from += sizeof(uint32_t)) {
      uint32_t stray = 0;
      std::memcpy(&stray, from, sizeof(stray));
      if (stray == kNoStray) return strays;
      strays.push_back(stray);
    }
    ADD_FAILURE() << "nothing ends the strays";
    return strays;
  }

  // As the layout is drawn, element by element.
  std::vector<BFloat16> Read() const {
    const auto* bytes = reinterpret_cast<const uint8_t*>(panel_.data());
    const int64_t count = padded_k_ * kPanelColumns;
    std::vector<uint8_t> lower;
    std::vector<uint8_t> upper;
    for (int64_t place = 0; place < count; ++place) {
      const uint8_t* unit = bytes + kCompactHeader + place / kCompactElements * kCompactBytes;
      const int64_t i = place % kCompactElements;
      const uint8_t both = unit[kCompactElements + i % 64];
      lower.push_back(unit[i]);
      upper.push_back(bytes[i < 64 ? both & 0x0f : both >> 4]);
    }
    for (const uint32_t stray : Strays()) upper[stray >> 8] = static_cast<uint8_t>(stray);
    std::vector<BFloat16> plain(static_cast<size_t>(count));
    for (int64_t place = 0; place < count; ++place) {
      const int64_t in_vector = place % vector();
      const int64_t element = place - in_vector + in_vector / 16 * 8 + in_vector % 8 +
                              (in_vector % 16 < 8 ? 0 : vector() / 2);
      plain[static_cast<size_t>(element)].bits =
          static_cast<uint16_t>(upper[place] << 8 | lower[place]);
    }
    return plain;
  }

  int64_t padded_k_ = 0;
  std::vector<std::byte> panel_;
};

std::vector<BFloat16> NormalElements(int64_t k, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 0.02f);
  std::vector<BFloat16> elements(static_cast<size_t>(k * kPanelColumns));
  for (BFloat16& element : elements) element = ToBFloat16(normal(random));
  return elements;
}

// Sixteen upper bytes in equal numbers, and others at so many places.
std::vector<BFloat16> ElementsWithStrays(int64_t k, size_t num_strays) {
  std::vector<BFloat16> plain(static_cast<size_t>(k * kPanelColumns));
  for (size_t i = 0; i < plain.size(); ++i) {
    plain[i].bits = static_cast<uint16_t>((0x30 + i % 16) << 8);
  }
  for (size_t i = 0; i < num_strays; ++i) plain[i * 67].bits = 0x7100;
  return plain;
}

TEST_P(CompactPanelTest, HoldsNormalWeightsWithFewStrays) {
  for (const int64_t k : {8, 64, 136, 2048}) {
    const std::vector<BFloat16> plain = NormalElements(k, static_cast<uint32_t>(k));
    ASSERT_TRUE(Write(plain)) << k;
    EXPECT_EQ(Read(), plain) << k;
    EXPECT_LE(Strays().size() * 4096, plain.size() + 16 * 4096) << k;
  }
}

TEST_P(CompactPanelTest, TakesALittleMoreThanTwelveBits) {
  EXPECT_LE(CompactPanelBytes(2048) * 8 * 100, 2048 * kPanelColumns * 1211);
  EXPECT_EQ(CompactPanelBytes(2048) % 64, 0);
  EXPECT_EQ(CompactPanelBytes(8) % 64, 0);
}

TEST_P(CompactPanelTest, HoldsZeros) {
  const std::vector<BFloat16> plain(64 * kPanelColumns);
  ASSERT_TRUE(Write(plain));
  EXPECT_EQ(Read(), plain);
  EXPECT_TRUE(Strays().empty());
}

TEST_P(CompactPanelTest, HoldsEveryKindOfNumber) {
  std::vector<BFloat16> plain = NormalElements(136, 3);
  // Zeros, subnormals, the smallest and largest normal numbers, infinities, quiet and other NaNs.
  const uint16_t kinds[] = {0x0000, 0x8000, 0x0001, 0x807f, 0x0080, 0x7f7f,
                            0xff7f, 0x7f80, 0xff80, 0x7fc1, 0xff81, 0x7fff};
  size_t place = 0;
  for (const uint16_t bits : kinds) {
    plain[place].bits = bits;
    place = (place + 1009) % plain.size();
  }
  ASSERT_TRUE(Write(plain));
  EXPECT_EQ(Read(), plain);
}

TEST_P(CompactPanelTest, KeepsEachStrayWhereverItStands) {
  std::vector<BFloat16> plain(16 * kPanelColumns);
  for (size_t place = 0; place < plain.size(); ++place) {
    // Sixteen upper bytes in equal numbers: what differs is a stray.
    for (size_t i = 0; i < plain.size(); ++i) {
      plain[i].bits = static_cast<uint16_t>((0x30 + i % 16) << 8 | (i & 0xff));
    }
    plain[place].bits = 0x7123;
    ASSERT_TRUE(Write(plain));
    EXPECT_EQ(Strays().size(), 1u);
    ASSERT_EQ(Read(), plain) << place;
  }
}

TEST_P(CompactPanelTest, HasNoRoomForMoreStraysThanWordsButOne) {
  std::vector<BFloat16> plain = ElementsWithStrays(64, 15);
  ASSERT_TRUE(Write(plain));
  EXPECT_EQ(Read(), plain);
  plain[1000].bits = 0x7100;
  EXPECT_FALSE(Write(plain));
}

TEST_P(CompactPanelTest, SaysThatItIsElsewhereAndNothingElse) {
  ASSERT_FALSE(Write(ElementsWithStrays(64, 16)));
  EXPECT_EQ(StateOf(panel_.data(), padded_k_), CompactPanelState::kElsewhere);
  std::vector<std::byte> zeros(panel_.size());
  zeros[16] = std::byte{1};
  EXPECT_EQ(panel_, zeros);
  panel_[16] = std::byte{2};
  EXPECT_EQ(StateOf(panel_.data(), padded_k_), CompactPanelState::kDamaged);
}

TEST_P(CompactPanelTest, IsCompactWithAnyNumberOfStraysThatItHasRoomFor) {
  for (size_t num_strays = 0; num_strays < 16; ++num_strays) {
    ASSERT_TRUE(Write(ElementsWithStrays(64, num_strays)));
    EXPECT_EQ(StateOf(panel_.data(), padded_k_), CompactPanelState::kCompact) << num_strays;
  }
}

TEST_P(CompactPanelTest, IsDamagedIfAnyWordOfItsListIsAnother) {
  ASSERT_TRUE(Write(ElementsWithStrays(64, 3)));
  const size_t begin = static_cast<size_t>(CompactStrayOffset(padded_k_));
  const size_t num_words = (panel_.size() - begin) / sizeof(uint32_t);
  ASSERT_EQ(num_words, 16u);
  auto* const list = reinterpret_cast<uint32_t*>(panel_.data() + begin);
  const uint32_t others[] = {0, 64 * kPanelColumns << 8, 0xfffffffe};
  for (size_t word = 0; word < num_words; ++word) {
    const uint32_t kept = list[word];
    for (const uint32_t other : others) {
      list[word] = other;
      // The first stray's place is 0.
      const bool is_right = other == 0 && word == 0;
      EXPECT_EQ(StateOf(panel_.data(), padded_k_),
                is_right ? CompactPanelState::kCompact : CompactPanelState::kDamaged)
          << "word " << word << " is " << other;
    }
    list[word] = kept;
    EXPECT_EQ(StateOf(panel_.data(), padded_k_), CompactPanelState::kCompact);
  }
}

INSTANTIATE_TEST_SUITE_P(Vectors, CompactPanelTest, ::testing::Values(32, 64));

TEST(CompactLayout, StandsForALayoutOfBFloat16) {
  for (const PanelLayout plain : {PanelLayout::kColumnsBFloat16, PanelLayout::kPairsBFloat16}) {
    EXPECT_TRUE(IsCompact(CompactLayout(plain)));
    EXPECT_EQ(PlainLayout(CompactLayout(plain)), plain);
  }
  for (const PanelLayout other :
       {PanelLayout::kColumnsFloat32, PanelLayout::kColumnsFloat8, PanelLayout::kPairsFloat8}) {
    EXPECT_EQ(CompactLayout(other), other);
    EXPECT_EQ(PlainLayout(other), other);
    EXPECT_FALSE(IsCompact(other));
  }
}

}  // namespace
}  // namespace baton::kernels::cpu
