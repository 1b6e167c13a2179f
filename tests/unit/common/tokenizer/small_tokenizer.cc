#include "tests/unit/common/tokenizer/small_tokenizer.h"

#include "common/utf8/utf8.h"

namespace baton {
namespace {

bool IsOwnCharacter(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

nlohmann::json AddedToken(int id, const char* content) {
  return {{"id", id},        {"content", content}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", true}, {"special", false}};
}

}  // namespace

int ByteId(unsigned char byte) { return byte; }

nlohmann::json SmallTokenizerJson() {
  nlohmann::json vocab;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    std::string character;
    AppendCodePoint(IsOwnCharacter(byte) ? byte : next++, &character);
    vocab[character] = byte;
  }
  // Ġ is the blank.
  for (const char* word : {"ab", "abc", "bc", "Ġa", "cd", "aa", "aaaa"}) {
    vocab[word] = static_cast<int>(vocab.size());
  }
  nlohmann::json special = AddedToken(300, "<s>");
  special["special"] = true;
  special["normalized"] = false;
  nlohmann::json wide = AddedToken(302, "<wide>");
  for (const char* flag : {"single_word", "lstrip", "rstrip"}) wide[flag] = true;
  return {{"version", "1.0"},
          {"added_tokens", {special, AddedToken(301, "<tag>"), wide}},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"},
               {"pattern", {{"Regex", R"(\s?\p{L}+|\p{N}{1,3}|\s+|[^\s\p{L}\p{N}]+)"}}},
               {"behavior", "Isolated"},
               {"invert", false}},
              {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model",
           {{"type", "BPE"},
            {"vocab", vocab},
            {"merges", {"b c", "a b", "ab c", "Ġ a", "c d", "a a", "aa aa"}}}}};
}

}  // namespace baton
