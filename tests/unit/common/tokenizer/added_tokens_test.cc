#include "common/tokenizer/added_tokens.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace baton {
namespace {

// Were each piece to look through all ranges before it, the time would grow with the square of a
// body's length.
TEST(AddedTokens, LooksAtFewPlainRangesHoweverManyThereAre) {
  const auto added = AddedTokens::Create({{.id = 300, .content = "<s>"}}).value();
  constexpr size_t kMany = 2'000;
  std::string text;
  std::vector<ByteRange> plain;
  for (size_t i = 0; i < kMany; ++i) {
    plain.push_back({text.size(), text.size() + 3});
    text += "<s>";
  }
  for (size_t i = 0; i < kMany; ++i) text += "<s>d";
  size_t num_looks = 0;
  const auto pieces = added.Split(text, AddedTokenText::kAll, plain, &num_looks).value();
  ASSERT_EQ(pieces.size(), 1 + 2 * kMany);
  EXPECT_EQ(pieces[0].range.end, 3 * kMany) << "what is plain is one piece";
  EXPECT_EQ(std::count_if(pieces.begin(), pieces.end(),
                          [](const AddedTokens::Piece& piece) { return piece.id == 300; }),
            static_cast<int64_t>(kMany));
  // Two pieces hold all ranges: the text, and what is plain of it. They look at each twice; all
  // pieces find their first by halving, 2,000 being less than 2^11.
  EXPECT_LE(num_looks, 2 * 2 * kMany + (kMany + 2) * 12);
}

}  // namespace
}  // namespace baton
