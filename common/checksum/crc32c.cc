#include "common/checksum/crc32c.h"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#include "common/checksum/crc32c_folding.h"
#include "common/log/check.h"

namespace baton {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78u;

// kTables[k][b]: effect of byte b, followed by k zero bytes, on the register.
using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t value = 0; value < 256; ++value) {
    uint32_t crc = value;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][value] = crc;
  }
  for (size_t zeros = 1; zeros < 8; ++zeros) {
    for (size_t value = 0; value < 256; ++value) {
      const uint32_t crc = tables[zeros - 1][value];
      tables[zeros][value] = (crc >> 8) ^ tables[0][crc & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

// Three independent streams hide the latency of the instruction (3 cycles, one per cycle). Each
// runs over kStreamBytes; the first two results are then advanced over the zeros that follow them.
constexpr size_t kStreamBytes = 1024;

// kSkip[i][b]: effect of byte b at position i of the register after kStreamBytes zero bytes.
using SkipTables = std::array<std::array<uint32_t, 256>, 4>;

constexpr SkipTables MakeSkipTables() {
  SkipTables skip{};
  // The effect is linear: compute it for single bits, then combine.
  std::array<uint32_t, 32> of_bit{};
  for (size_t bit = 0; bit < 32; ++bit) {
    uint32_t crc = 1u << bit;
    for (size_t i = 0; i < kStreamBytes; ++i) crc = (crc >> 8) ^ kTables[0][crc & 0xFF];
    of_bit[bit] = crc;
  }
  for (size_t position = 0; position < 4; ++position) {
    for (size_t value = 0; value < 256; ++value) {
      uint32_t crc = 0;
      for (size_t bit = 0; bit < 8; ++bit) {
        if ((value >> bit & 1) != 0) crc ^= of_bit[position * 8 + bit];
      }
      skip[position][value] = crc;
    }
  }
  return skip;
}

uint64_t Load64(const std::byte* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

#if defined(__x86_64__)

uint32_t SkipZeros(uint32_t crc) {
  static constexpr SkipTables kSkip = MakeSkipTables();
  return kSkip[0][crc & 0xFF] ^ kSkip[1][crc >> 8 & 0xFF] ^ kSkip[2][crc >> 16 & 0xFF] ^
         kSkip[3][crc >> 24];
}

__attribute__((target("sse4.2"))) uint32_t ExtendSse42(uint32_t crc,
                                                       std::span<const std::byte> bytes) {
  const std::byte* next = bytes.data();
  size_t left = bytes.size();
  uint64_t a = static_cast<uint32_t>(~crc);
  while (left >= 3 * kStreamBytes) {
    uint64_t b = 0;
    uint64_t c = 0;
    for (size_t i = 0; i < kStreamBytes; i += 8) {
      a = _mm_crc32_u64(a, Load64(next + i));
      b = _mm_crc32_u64(b, Load64(next + kStreamBytes + i));
      c = _mm_crc32_u64(c, Load64(next + 2 * kStreamBytes + i));
    }
    a = SkipZeros(static_cast<uint32_t>(a)) ^ b;
    a = SkipZeros(static_cast<uint32_t>(a)) ^ c;
    next += 3 * kStreamBytes;
    left -= 3 * kStreamBytes;
  }
  for (; left >= 8; next += 8, left -= 8) a = _mm_crc32_u64(a, Load64(next));
  uint32_t tail = static_cast<uint32_t>(a);
  for (; left > 0; ++next, --left) tail = _mm_crc32_u8(tail, static_cast<uint8_t>(*next));
  return ~tail;
}

#endif

using ExtendFunction = uint32_t (*)(uint32_t, std::span<const std::byte>);

ExtendFunction ChooseExtend() {
  if (checksum_internal::HasCrc32cInstruction()) return checksum_internal::ExtendCrc32cInstruction;
  return checksum_internal::ExtendCrc32cPortable;
}

}  // namespace

namespace checksum_internal {

uint32_t ExtendCrc32cPortable(uint32_t crc, std::span<const std::byte> bytes) {
  const std::byte* next = bytes.data();
  size_t left = bytes.size();
  crc = ~crc;
  for (; left >= 8; next += 8, left -= 8) {
    const uint64_t word = Load64(next) ^ crc;
    crc = 0;
    for (size_t i = 0; i < 8; ++i) crc ^= kTables[7 - i][word >> (8 * i) & 0xFF];
  }
  for (; left > 0; ++next, --left) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<uint32_t>(*next)) & 0xFF];
  }
  return ~crc;
}

bool HasCrc32cInstruction() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("sse4.2") != 0;
#else
  return false;
#endif
}

uint32_t ExtendCrc32cInstruction(uint32_t crc, std::span<const std::byte> bytes) {
#if defined(__x86_64__)
  return ExtendSse42(crc, bytes);
#else
  BATON_CHECK(false) << "this processor has no crc32 instruction";
  return ExtendCrc32cPortable(crc, bytes);
#endif
}

}  // namespace checksum_internal

uint32_t ExtendCrc32c(uint32_t crc, std::span<const std::byte> bytes) {
  static const bool folds = checksum_internal::HasCrc32cFolding();
  static const ExtendFunction extend = ChooseExtend();
  if (folds && bytes.size() >= checksum_internal::kLeastFoldedBytes) {
    return checksum_internal::ExtendCrc32cFolded(crc, bytes);
  }
  return extend(crc, bytes);
}

uint32_t Crc32c(std::span<const std::byte> bytes) { return ExtendCrc32c(0, bytes); }

uint32_t CopyWithCrc32c(std::byte* out, std::span<const std::byte> bytes) {
  // Pieces that stay in the first-level cache between the copy and the checksum.
  constexpr size_t kPieceBytes = 12 * 1024;
  uint32_t crc = 0;
  for (size_t done = 0; done < bytes.size(); done += kPieceBytes) {
    const size_t size = std::min(kPieceBytes, bytes.size() - done);
    std::memcpy(out + done, bytes.data() + done, size);
    crc = ExtendCrc32c(crc, {out + done, size});
  }
  return crc;
}

}  // namespace baton
