// Damaged files and random bytes, with a fixed seed: an error or a tokenizer that works, no crash.
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "common/tokenizer/tokenizer.h"
#include "common/utf8/utf8.h"
#include "tests/unit/common/tokenizer/small_tokenizer.h"

namespace baton {
namespace {

constexpr int kRounds = 4000;

// Overwrites, drops, repeats or adds a few bytes.
std::string Damage(std::string text, std::mt19937& random) {
  constexpr absl::string_view kSyntax = "{}[]\",:0-9eE\\u null";
  const int edits = 1 + static_cast<int>(random() % 4);
  for (int i = 0; i < edits && !text.empty(); ++i) {
    const size_t place = random() % text.size();
    const size_t length = std::min<size_t>(1 + random() % 20, text.size() - place);
    switch (random() % 5) {
      case 0:
        text[place] = static_cast<char>(random());
        break;
      case 1:
        text[place] = kSyntax[random() % kSyntax.size()];
        break;
      case 2:
        text.erase(place, length);
        break;
      case 3:
        text.insert(place, text.substr(place, length));
        break;
      default:
        text.resize(place);
        break;
    }
  }
  return text;
}

TEST(TokenizerFuzz, BearsDamagedFiles) {
  std::mt19937 random(42);
  const std::string file = SmallTokenizerJson().dump();
  int accepted = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto tokenizer = Tokenizer::Create(Damage(file, random));
    if (!tokenizer.ok()) {
      ASSERT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
      continue;
    }
    ++accepted;
    const std::string text =
        (*tokenizer)->Decode((*tokenizer)->Encode("ab <s> 数 12 <wide>").value(), true);
    ASSERT_TRUE(IsValidUtf8(text));
  }
  EXPECT_GT(accepted, kRounds / 100);
}

TEST(TokenizerFuzz, GivesRandomBytesBackAsTheirText) {
  std::mt19937 random(43);
  const auto tokenizer = Tokenizer::Create(SmallTokenizerJson().dump()).value();
  for (int round = 0; round < kRounds; ++round) {
    std::string bytes(random() % 60, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % 3 == 0 ? random() : 'a' + random() % 5);
    EncodeOptions options;
    options.added_tokens = AddedTokenText::kNone;
    ASSERT_EQ(tokenizer->Decode(tokenizer->Encode(bytes, options).value(), false),
              ToValidUtf8(bytes));
  }
}

}  // namespace
}  // namespace baton
