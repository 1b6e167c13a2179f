#include "common/chat_template/string_literal.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "common/utf8/utf8.h"

namespace baton {
namespace {

constexpr absl::string_view kSimpleFrom = "\\'\"abfnrtv";
constexpr absl::string_view kSimpleTo = "\\'\"\a\b\f\n\r\t\v";

absl::Status AppendChecked(uint32_t code_point, std::string* out) {
  if (code_point >= 0x110000 || (code_point >= 0xD800 && code_point < 0xE000)) {
    return absl::InvalidArgumentError(absl::StrCat("escape of ", code_point, ", no character"));
  }
  AppendCodePoint(code_point, out);
  return absl::OkStatus();
}

// Reads exactly `digits` hexadecimal digits at the beginning of `text`.
absl::StatusOr<uint32_t> ReadHex(absl::string_view text, size_t digits) {
  if (text.size() < digits) return absl::InvalidArgumentError("an escape is too short");
  uint32_t value = 0;
  for (const char c : text.substr(0, digits)) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) {
      return absl::InvalidArgumentError("an escape has a character that is no hexadecimal digit");
    }
    const uint32_t digit = absl::ascii_isdigit(c) ? c - '0' : absl::ascii_tolower(c) - 'a' + 10;
    value = value << 4 | digit;
  }
  return value;
}

}  // namespace

absl::StatusOr<std::string> UnescapeString(absl::string_view literal) {
  std::string out;
  out.reserve(literal.size());
  while (!literal.empty()) {
    const char c = literal[0];
    literal.remove_prefix(1);
    if (c != '\\' || literal.empty()) {
      out.push_back(c);
      continue;
    }
    const char escape = literal[0];
    literal.remove_prefix(1);
    const size_t digits = escape == 'x' ? 2 : escape == 'u' ? 4 : escape == 'U' ? 8 : 0;
    if (digits > 0) {
      ASSIGN_OR_RETURN(const uint32_t value, ReadHex(literal, digits));
      RETURN_IF_ERROR(AppendChecked(value, &out));
      literal.remove_prefix(digits);
    } else if (const size_t simple = kSimpleFrom.find(escape); simple != absl::string_view::npos) {
      out.push_back(kSimpleTo[simple]);
    } else if (escape >= '0' && escape <= '7') {
      uint32_t value = escape - '0';
      for (int i = 0; i < 2 && !literal.empty() && literal[0] >= '0' && literal[0] <= '7'; ++i) {
        value = value << 3 | static_cast<uint32_t>(literal[0] - '0');
        literal.remove_prefix(1);
      }
      RETURN_IF_ERROR(AppendChecked(value, &out));
    } else if (escape == 'N') {
      return absl::InvalidArgumentError("escapes by name (\\N) are not supported");
    } else if (escape != '\n') {
      out.push_back('\\');
      out.push_back(escape);
    }
  }
  return out;
}

}  // namespace baton
