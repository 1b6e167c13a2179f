// Characters that this machine's PCRE2 may not know yet.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace baton {

// PCRE2 10.42 knows Unicode 14; Hugging Face's tokenizers go by Unicode 16. For a `text` (valid
// UTF-8) with characters that came after 14: true, and in `out` the text with each of them replaced
// by an older one of the same general category and the same number of bytes, so that a pattern over
// categories finds the same places. Else false, and `out` is left alone.
bool ReplaceRecentCharacters(absl::string_view text, std::string* out);

}  // namespace baton
