// Python's ways with text, as Jinja exposes them. Texts are UTF-8; positions count characters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace baton {

// str.isspace of one character.
bool IsPythonSpace(char32_t c);

// `text` without the white space at its beginning or end.
absl::string_view StripLeft(absl::string_view text);
absl::string_view StripRight(absl::string_view text);
// The same for the characters in `characters`.
absl::string_view StripLeft(absl::string_view text, absl::string_view characters);
absl::string_view StripRight(absl::string_view text, absl::string_view characters);

// str.split without a separator: by runs of white space; `max_splits` < 0 is no limit.
std::vector<absl::string_view> SplitWhiteSpace(absl::string_view text, int64_t max_splits);
// str.split and str.rsplit by a separator that is not empty.
std::vector<absl::string_view> SplitText(absl::string_view text, absl::string_view separator,
                                         int64_t max_splits);
std::vector<absl::string_view> SplitTextFromRight(absl::string_view text,
                                                  absl::string_view separator, int64_t max_splits);
// str.splitlines.
std::vector<absl::string_view> SplitLines(absl::string_view text, bool keep_ends);

// str.replace; `max_count` < 0 is no limit.
std::string ReplaceText(absl::string_view text, absl::string_view old_text,
                        absl::string_view new_text, int64_t max_count);

// Number of characters; bytes that are no UTF-8 count one each.
size_t CountCharacters(absl::string_view text);
// The characters, one by one.
std::vector<absl::string_view> Characters(absl::string_view text);

// repr of a float: the shortest text that reads back as the same number.
std::string FloatText(double value);
// repr of a text, in quotes.
std::string QuotedText(absl::string_view text);
// The JSON string of a text, in quotes; with `ensure_ascii` all else as \u escapes.
std::string JsonText(absl::string_view text, bool ensure_ascii);

}  // namespace baton
