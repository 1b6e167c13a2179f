// A tokenizer.json small enough to read, for tests.
#pragma once

#include <string>

#include "nlohmann/json.hpp"

namespace baton {

// Bytes 0-255 as ids 0-255 in the order of the byte-level alphabet's characters, the words below,
// and three added tokens: <s> (300, special), <tag> (301) and <wide> (302, takes white space on
// both sides and stands alone).
nlohmann::json SmallTokenizerJson();

// The id of a byte's token.
int ByteId(unsigned char byte);

}  // namespace baton
