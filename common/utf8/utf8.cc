#include "common/utf8/utf8.h"

#include <cstdint>
#include <cstring>

namespace baton {
namespace {

// How a lead byte goes on: its length and the range of the second byte; all others are 80..BF.
struct Lead {
  size_t length;
  uint8_t second_min;
  uint8_t second_max;
};

Lead LeadOf(uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// Bytes at the beginning of `text` that are ASCII, looked at eight at a time.
size_t AsciiPrefix(absl::string_view text) {
  size_t length = 0;
  while (length + 8 <= text.size()) {
    uint64_t word;
    std::memcpy(&word, text.data() + length, 8);
    if ((word & 0x8080808080808080u) != 0) break;
    length += 8;
  }
  while (length < text.size() && static_cast<uint8_t>(text[length]) < 0x80) ++length;
  return length;
}

}  // namespace

Utf8Step NextUtf8(absl::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  if (first < 0x80) return {Utf8Kind::kCharacter, 1, first};
  const Lead lead = LeadOf(first);
  if (lead.length == 0) return {Utf8Kind::kInvalid, 1, 0};
  char32_t code_point = first & (0x7F >> lead.length);
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {Utf8Kind::kUnfinished, i, 0};
    const auto byte = static_cast<uint8_t>(text[i]);
    const uint8_t min = i == 1 ? lead.second_min : 0x80;
    const uint8_t max = i == 1 ? lead.second_max : 0xBF;
    if (byte < min || byte > max) return {Utf8Kind::kInvalid, i, 0};
    code_point = code_point << 6 | (byte & 0x3F);
  }
  return {Utf8Kind::kCharacter, lead.length, code_point};
}

bool IsValidUtf8(absl::string_view text) {
  while (true) {
    text.remove_prefix(AsciiPrefix(text));
    if (text.empty()) return true;
    const Utf8Step step = NextUtf8(text);
    if (step.kind != Utf8Kind::kCharacter) return false;
    text.remove_prefix(step.length);
  }
}

size_t AppendValidUtf8(absl::string_view bytes, std::string* out) {
  while (!bytes.empty()) {
    const size_t ascii = AsciiPrefix(bytes);
    out->append(bytes.data(), ascii);
    bytes.remove_prefix(ascii);
    if (bytes.empty()) break;
    const Utf8Step step = NextUtf8(bytes);
    if (step.kind == Utf8Kind::kUnfinished) return step.length;
    const absl::string_view shown =
        step.kind == Utf8Kind::kCharacter ? bytes.substr(0, step.length) : kReplacementCharacter;
    out->append(shown.data(), shown.size());
    bytes.remove_prefix(step.length);
  }
  return 0;
}

std::string ToValidUtf8(absl::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  if (AppendValidUtf8(bytes, &out) > 0) {
    out.append(kReplacementCharacter.data(), kReplacementCharacter.size());
  }
  return out;
}

void AppendCodePoint(char32_t code_point, std::string* out) {
  const auto tail = [&](int shift) {
    out->push_back(static_cast<char>(0x80 | (code_point >> shift & 0x3F)));
  };
  if (code_point < 0x80) {
    out->push_back(static_cast<char>(code_point));
  } else if (code_point < 0x800) {
    out->push_back(static_cast<char>(0xC0 | code_point >> 6));
    tail(0);
  } else if (code_point < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | code_point >> 12));
    tail(6);
    tail(0);
  } else {
    out->push_back(static_cast<char>(0xF0 | code_point >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace baton
