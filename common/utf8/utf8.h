// UTF-8: checking, decoding with replacement, characters of a text.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace baton {

// U+FFFD, which stands for bytes that form no character.
inline constexpr absl::string_view kReplacementCharacter = "\xEF\xBF\xBD";

enum class Utf8Kind {
  kCharacter,   // a whole character
  kInvalid,     // a maximal part of an ill-formed sequence: one U+FFFD
  kUnfinished,  // the text ends inside a character that is well-formed so far
};

struct Utf8Step {
  Utf8Kind kind = Utf8Kind::kInvalid;
  size_t length = 0;        // bytes
  char32_t code_point = 0;  // of a whole character
};

// What stands at the beginning of `text`, which is not empty. Surrogates, overlong forms and values
// above U+10FFFF are ill-formed.
// Source: The Unicode Standard 15, table 3-7 and "U+FFFD substitution of maximal subparts"; the
// same as WHATWG, Rust's from_utf8_lossy and Python's errors="replace".
Utf8Step NextUtf8(absl::string_view text);

bool IsValidUtf8(absl::string_view text);

// Appends `bytes` to `out` with U+FFFD for what is ill-formed, up to an unfinished character at the
// end; returns the bytes of that one, 0 to 3.
size_t AppendValidUtf8(absl::string_view bytes, std::string* out);

// `bytes` with U+FFFD for what is ill-formed or unfinished.
std::string ToValidUtf8(absl::string_view bytes);

// Appends the character; `code_point` is below 0x110000.
void AppendCodePoint(char32_t code_point, std::string* out);

}  // namespace baton
