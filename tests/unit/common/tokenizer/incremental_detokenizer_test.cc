#include "common/tokenizer/incremental_detokenizer.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "common/utf8/utf8.h"
#include "tests/unit/common/tokenizer/small_tokenizer.h"

namespace baton {
namespace {

class IncrementalDetokenizerTest : public testing::Test {
 protected:
  const std::unique_ptr<Tokenizer> tokenizer_ =
      Tokenizer::Create(SmallTokenizerJson().dump()).value();
};

TEST_F(IncrementalDetokenizerTest, GivesWholeCharactersOnly) {
  IncrementalDetokenizer detokenizer(*tokenizer_, {});
  EXPECT_EQ(detokenizer.Push(0xF0), "");
  EXPECT_EQ(detokenizer.Push(0x9F), "");
  EXPECT_EQ(detokenizer.Push(0x99), "");
  EXPECT_TRUE(detokenizer.pending());
  EXPECT_EQ(detokenizer.Push(0x82), "🙂");
  EXPECT_FALSE(detokenizer.pending());
  EXPECT_EQ(detokenizer.Flush(), "");
}

TEST_F(IncrementalDetokenizerTest, ReplacesACharacterThatIsNeverFinished) {
  IncrementalDetokenizer detokenizer(*tokenizer_, {});
  EXPECT_EQ(detokenizer.Push(0xE4), "");
  EXPECT_EQ(detokenizer.Push('d'), "\uFFFDd");
  EXPECT_EQ(detokenizer.Push(0xE4), "");
  EXPECT_EQ(detokenizer.Flush(), "\uFFFD");
  EXPECT_EQ(detokenizer.Flush(), "");
}

TEST_F(IncrementalDetokenizerTest, SkipsSpecialTokensOnRequest) {
  const std::vector<uint32_t> ids = {300, 'd', 301};
  EXPECT_EQ(IncrementalDetokenizer(*tokenizer_, {true}).Push(ids), "d<tag>");
  EXPECT_EQ(IncrementalDetokenizer(*tokenizer_, {false}).Push(ids), "<s>d<tag>");
}

TEST_F(IncrementalDetokenizerTest, AddsUpToTheWholeForAllBytePairs) {
  for (uint32_t first = 0; first < 256; ++first) {
    for (uint32_t second = 0; second < 256; ++second) {
      const std::vector<uint32_t> ids = {0xE4, first, second, 'z'};
      IncrementalDetokenizer detokenizer(*tokenizer_, {});
      std::string text;
      for (const uint32_t id : ids) {
        const std::string piece = detokenizer.Push(id);
        ASSERT_TRUE(IsValidUtf8(piece));
        text += piece;
      }
      text += detokenizer.Flush();
      ASSERT_EQ(text, tokenizer_->Decode(ids, true)) << first << " " << second;
    }
  }
}

}  // namespace
}  // namespace baton
