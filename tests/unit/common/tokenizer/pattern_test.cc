#include "common/tokenizer/pattern.h"

#include <string>

#include "gtest/gtest.h"

namespace baton {
namespace {

// The first match from `start` on; none: empty range at npos.
ByteRange Find(const Pattern& pattern, const std::string& text, size_t start = 0) {
  const auto found = Pattern::Matcher(pattern).Find(text, start);
  EXPECT_TRUE(found.ok()) << found.status();
  return found.value().value_or(ByteRange{std::string::npos, std::string::npos});
}

bool Matches(const Pattern& pattern, const std::string& text) {
  return Find(pattern, text).begin != std::string::npos;
}

TEST(Pattern, FindsFromAPlaceOn) {
  const Pattern pattern = Pattern::FromOniguruma(R"(\p{L}+)").value();
  EXPECT_EQ(Find(pattern, "ab 数据", 1).begin, 1u);
  EXPECT_EQ(Find(pattern, "ab 数据", 1).end, 2u);
  EXPECT_EQ(Find(pattern, "ab 数据", 2).begin, 3u);
  EXPECT_EQ(Find(pattern, "ab 数据", 2).end, 9u);
  EXPECT_EQ(Find(pattern, "ab 数据", 9).begin, std::string::npos);
}

TEST(Pattern, TakesWhiteSpaceAsUnicodeDefinesIt) {
  const Pattern space = Pattern::FromOniguruma(R"(\s)").value();
  const Pattern other = Pattern::FromOniguruma(R"([\S])").value();
  EXPECT_TRUE(Matches(space, "\u3000"));
  EXPECT_FALSE(Matches(space, "\u180E"));
  EXPECT_TRUE(Matches(other, "\u180E"));
}

TEST(Pattern, TakesATextAsItIs) {
  const Pattern pattern = Pattern::FromText("a.b").value();
  EXPECT_FALSE(Matches(pattern, "axb"));
  EXPECT_TRUE(Matches(pattern, "xa.b"));
}

TEST(Pattern, RefusesWhatWouldMeanSomethingElse) {
  for (const char* source : {R"(\w)", R"(\bx)", "^a", "a$", "[a[b]]", "[a&&b]", "(?<n>a)", "(?R)",
                             "(*UCP)a", "a{1,2}+", R"((a)\1)", "a\\"}) {
    EXPECT_FALSE(Pattern::FromOniguruma(source).ok()) << source;
  }
}

TEST(Pattern, SaysThatItGaveUpOnAnExponentialPattern) {
  const Pattern pattern = Pattern::FromOniguruma("(?:a+)+[bc]").value();
  const auto found = Pattern::Matcher(pattern).Find(std::string(64, 'a'), 0);
  EXPECT_EQ(found.status().code(), absl::StatusCode::kInvalidArgument) << found.status();
}

}  // namespace
}  // namespace baton
