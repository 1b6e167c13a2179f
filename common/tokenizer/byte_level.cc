#include "common/tokenizer/byte_level.h"

#include <array>
#include <cstdint>

#include "common/utf8/utf8.h"

namespace baton {
namespace {

constexpr int kAbsent = -1;

constexpr bool IsOwnCharacter(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<int16_t, 0x144> MakeByteOfCodePoint() {
  std::array<int16_t, 0x144> table = {};
  for (int16_t& entry : table) entry = kAbsent;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    table[IsOwnCharacter(byte) ? byte : next++] = static_cast<int16_t>(byte);
  }
  return table;
}

constexpr std::array<int16_t, 0x144> kByteOfCodePoint = MakeByteOfCodePoint();

}  // namespace

bool AppendByteLevelBytes(absl::string_view text, std::string* bytes) {
  const size_t before = bytes->size();
  while (!text.empty()) {
    const Utf8Step step = NextUtf8(text);
    const bool known = step.kind == Utf8Kind::kCharacter &&
                       step.code_point < kByteOfCodePoint.size() &&
                       kByteOfCodePoint[step.code_point] != kAbsent;
    if (!known) {
      bytes->resize(before);
      return false;
    }
    bytes->push_back(static_cast<char>(kByteOfCodePoint[step.code_point]));
    text.remove_prefix(step.length);
  }
  return true;
}

std::string BytesOfToken(absl::string_view text) {
  std::string bytes;
  return AppendByteLevelBytes(text, &bytes) ? bytes : std::string(text);
}

}  // namespace baton
