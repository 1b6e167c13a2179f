// The byte-level alphabet: a printable character for each byte, as tokenizer.json writes tokens.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace baton {

// Appends the bytes that the characters of `text` stand for; false, with nothing appended, when a
// character is not of the alphabet. Bytes 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF are the character of
// their own number; the other 68, in order, are U+0100 to U+0143 (so a space is U+0120).
// Source: GPT-2's bytes_to_unicode, which byte-level tokenizers share.
bool AppendByteLevelBytes(absl::string_view text, std::string* bytes);

// The bytes that a token written as `text` stands for: those of the alphabet, or `text` itself when
// a character of it is not of the alphabet (added tokens).
std::string BytesOfToken(absl::string_view text);

}  // namespace baton
