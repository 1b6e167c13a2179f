#include "common/tokenizer/pattern.h"

#include <string>

#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(Pattern, FindsFromAPlaceOn) {
  const Pattern pattern = Pattern::FromOniguruma(R"(\p{L}+)").value();
  Pattern::Matcher matcher(pattern);
  ByteRange found;
  ASSERT_TRUE(matcher.Find("ab 数据", 1, &found));
  EXPECT_EQ(found.begin, 1u);
  EXPECT_EQ(found.end, 2u);
  ASSERT_TRUE(matcher.Find("ab 数据", 2, &found));
  EXPECT_EQ(found.begin, 3u);
  EXPECT_EQ(found.end, 9u);
  EXPECT_FALSE(matcher.Find("ab 数据", 9, &found));
}

TEST(Pattern, TakesWhiteSpaceAsUnicodeDefinesIt) {
  const Pattern space = Pattern::FromOniguruma(R"(\s)").value();
  const Pattern other = Pattern::FromOniguruma(R"([\S])").value();
  ByteRange found;
  EXPECT_TRUE(Pattern::Matcher(space).Find("\u3000", 0, &found));
  EXPECT_FALSE(Pattern::Matcher(space).Find("\u180E", 0, &found));
  EXPECT_TRUE(Pattern::Matcher(other).Find("\u180E", 0, &found));
}

TEST(Pattern, TakesATextAsItIs) {
  const Pattern pattern = Pattern::FromText("a.b").value();
  ByteRange found;
  EXPECT_FALSE(Pattern::Matcher(pattern).Find("axb", 0, &found));
  EXPECT_TRUE(Pattern::Matcher(pattern).Find("xa.b", 0, &found));
}

TEST(Pattern, RefusesWhatWouldMeanSomethingElse) {
  for (const char* source : {R"(\w)", R"(\bx)", "^a", "a$", "[a[b]]", "[a&&b]", "(?<n>a)", "(?R)",
                             "(*UCP)a", "a{1,2}+", R"((a)\1)", "a\\"}) {
    EXPECT_FALSE(Pattern::FromOniguruma(source).ok()) << source;
  }
}

TEST(Pattern, GivesUpOnAnExponentialPattern) {
  const Pattern pattern = Pattern::FromOniguruma("(?:a+)+b").value();
  ByteRange found;
  EXPECT_FALSE(Pattern::Matcher(pattern).Find(std::string(64, 'a'), 0, &found));
}

}  // namespace
}  // namespace baton
