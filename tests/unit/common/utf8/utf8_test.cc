#include "common/utf8/utf8.h"

#include <string>

#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(Utf8, DecodesWholeCharacters) {
  const Utf8Step step = NextUtf8("🙂x");
  EXPECT_EQ(step.kind, Utf8Kind::kCharacter);
  EXPECT_EQ(step.length, 4u);
  EXPECT_EQ(step.code_point, 0x1F642u);
}

TEST(Utf8, TellsUnfinishedFromInvalid) {
  EXPECT_EQ(NextUtf8("\xF0\x9F\x99").kind, Utf8Kind::kUnfinished);
  EXPECT_EQ(NextUtf8("\xF0\x9F\x99z").kind, Utf8Kind::kInvalid);
  EXPECT_EQ(NextUtf8("\xF0\x9F\x99z").length, 3u);
  EXPECT_EQ(NextUtf8("\x80").kind, Utf8Kind::kInvalid);
}

TEST(Utf8, RefusesOverlongFormsSurrogatesAndLargeValues) {
  for (const char* bytes :
       {"\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF"}) {
    EXPECT_FALSE(IsValidUtf8(bytes));
    EXPECT_EQ(NextUtf8(bytes).length, 1u);
  }
}

TEST(Utf8, ReplacesEachMaximalPartOnce) {
  EXPECT_EQ(ToValidUtf8("a\xF0\x9F\x99z\xE4\xBD"), "a\uFFFDz\uFFFD");
  EXPECT_EQ(ToValidUtf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
}

TEST(Utf8, HoldsBackAnUnfinishedCharacter) {
  std::string out;
  EXPECT_EQ(AppendValidUtf8("ab\xE4\xBD", &out), 2u);
  EXPECT_EQ(out, "ab");
}

TEST(Utf8, WritesEveryCharacterSoThatItReadsBack) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    AppendCodePoint(c, &text);
    const Utf8Step step = NextUtf8(text);
    ASSERT_EQ(step.code_point, c);
    ASSERT_EQ(step.length, text.size());
  }
}

}  // namespace
}  // namespace baton
