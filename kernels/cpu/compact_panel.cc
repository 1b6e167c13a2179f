#include "kernels/cpu/compact_panel.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

namespace baton::kernels::cpu {
namespace {

// One word for strays per so many elements, at least kFewestStrays: ten times what normal weights
// need, of which one in 5,500 to 17,000 is outside of eight pairs of binades, depending on where
// their deviation stands between two powers of four. Words fill whole cache lines.
constexpr int64_t kElementsPerStray = 512;
constexpr int64_t kFewestStrays = 16;

// Elements that are counted to choose codes, or somewhat more.
constexpr int64_t kCounted = 8192;

constexpr int kNumCodes = 16;
constexpr uint8_t kNoCode = kNumCodes;

// Of the header: where it says that the panel is not here.
constexpr int64_t kElsewhereByte = kNumCodes;
constexpr std::byte kElsewhere{1};

int64_t StrayWords(int64_t padded_k) {
  const int64_t words = padded_k * kPanelColumns / kElementsPerStray;
  return (std::max(words, kFewestStrays) + 15) / 16 * 16;
}

std::array<uint8_t, kNumCodes> MostFrequentUpperBytes(const BFloat16* elements, int64_t count) {
  // An odd step meets every column.
  const int64_t step = (count / kCounted) | 1;
  std::array<uint32_t, 256> counts = {};
  for (int64_t i = 0; i < count; i += step) ++counts[elements[i].bits >> 8];
  std::array<uint8_t, 256> bytes;
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  std::partial_sort(
      bytes.begin(), bytes.begin() + kNumCodes, bytes.end(),
      [&](uint8_t a, uint8_t b) { return counts[a] != counts[b] ? counts[a] > counts[b] : a < b; });
  std::array<uint8_t, kNumCodes> chosen;
  std::copy_n(bytes.begin(), kNumCodes, chosen.begin());
  return chosen;
}

// The bytes of a unit's elements, apart, in the order of compact panels.
void TakeApart(const BFloat16* elements, int64_t vector, uint8_t* lower, uint8_t* upper) {
  const int64_t half = vector / 2;
  for (int64_t i = 0; i < kCompactElements; i += 8) {
    const int64_t in_half = i % half;
    const int64_t at = i / vector * vector + in_half * 2 + (i % vector < half ? 0 : 8);
    for (int64_t j = 0; j < 8; ++j) {
      lower[at + j] = static_cast<uint8_t>(elements[i + j].bits);
      upper[at + j] = static_cast<uint8_t>(elements[i + j].bits >> 8);
    }
  }
}

}  // namespace

bool IsCompact(PanelLayout layout) {
  return layout == PanelLayout::kColumnsCompact || layout == PanelLayout::kPairsCompact;
}

PanelLayout PlainLayout(PanelLayout layout) {
  if (layout == PanelLayout::kColumnsCompact) return PanelLayout::kColumnsBFloat16;
  if (layout == PanelLayout::kPairsCompact) return PanelLayout::kPairsBFloat16;
  return layout;
}

PanelLayout CompactLayout(PanelLayout layout) {
  if (layout == PanelLayout::kColumnsBFloat16) return PanelLayout::kColumnsCompact;
  if (layout == PanelLayout::kPairsBFloat16) return PanelLayout::kPairsCompact;
  return layout;
}

int64_t CompactStrayOffset(int64_t padded_k) {
  return kCompactHeader + padded_k / kCompactSteps * kCompactBytes;
}

int64_t CompactPanelBytes(int64_t padded_k) {
  return CompactStrayOffset(padded_k) +
         StrayWords(padded_k) * static_cast<int64_t>(sizeof(kNoStray));
}

bool WriteCompactPanel(const BFloat16* plain, int64_t padded_k, int64_t vector, std::byte* panel) {
  const int64_t num_elements = padded_k * kPanelColumns;
  const std::array<uint8_t, kNumCodes> upper_bytes = MostFrequentUpperBytes(plain, num_elements);
  std::memset(panel, 0, kCompactHeader);
  std::memcpy(panel, upper_bytes.data(), kNumCodes);
  std::array<uint8_t, 256> codes;
  codes.fill(kNoCode);
  for (int code = 0; code < kNumCodes; ++code) {
    codes[upper_bytes[code]] = static_cast<uint8_t>(code);
  }
  auto* unit = reinterpret_cast<uint8_t*>(panel + kCompactHeader);
  auto* strays = reinterpret_cast<uint32_t*>(panel + CompactStrayOffset(padded_k));
  // The last word ends them.
  const int64_t most_strays = StrayWords(padded_k) - 1;
  int64_t num_strays = 0;
  for (int64_t first = 0; first < num_elements; first += kCompactElements) {
    std::array<uint8_t, kCompactElements> upper;
    TakeApart(plain + first, vector, unit, upper.data());
    uint8_t seen = 0;
    for (int64_t i = 0; i < kCompactElements / 2; ++i) {
      const uint8_t near = codes[upper[i]];
      const uint8_t far = codes[upper[kCompactElements / 2 + i]];
      unit[kCompactElements + i] = static_cast<uint8_t>((near & 0x0f) | far << 4);
      seen |= near | far;
    }
    if ((seen & kNoCode) != 0) {
      for (int64_t i = 0; i < kCompactElements; ++i) {
        if (codes[upper[i]] != kNoCode) continue;
        if (num_strays == most_strays) {
          std::memset(panel, 0, static_cast<size_t>(CompactPanelBytes(padded_k)));
          panel[kElsewhereByte] = kElsewhere;
          return false;
        }
        strays[num_strays++] = static_cast<uint32_t>(first + i) << 8 | upper[i];
      }
    }
    unit += kCompactBytes;
  }
  std::fill(strays + num_strays, strays + most_strays + 1, kNoStray);
  return true;
}

CompactPanelState StateOf(const std::byte* panel, int64_t padded_k) {
  if (panel[kElsewhereByte] == kElsewhere) return CompactPanelState::kElsewhere;
  if (panel[kElsewhereByte] != std::byte{0}) return CompactPanelState::kDamaged;
  const auto* stray = reinterpret_cast<const uint32_t*>(panel + CompactStrayOffset(padded_k));
  const uint32_t* const last = stray + StrayWords(padded_k) - 1;
  int64_t least_place = 0;
  for (; stray < last && *stray != kNoStray; ++stray) {
    const int64_t place = *stray >> 8;
    if (place < least_place || place >= padded_k * kPanelColumns)
      return CompactPanelState::kDamaged;
    least_place = place + 1;
  }
  const bool ends = std::all_of(stray, last + 1, [](uint32_t word) { return word == kNoStray; });
  return ends ? CompactPanelState::kCompact : CompactPanelState::kDamaged;
}

}  // namespace baton::kernels::cpu
