#include "common/config/token_count.h"

#include <cstdint>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(ParseTokenCount, TakesUnits) {
  EXPECT_EQ(*ParseTokenCount("1"), 1);
  EXPECT_EQ(*ParseTokenCount("32768"), 32768);
  EXPECT_EQ(*ParseTokenCount("2k"), 2000);
  EXPECT_EQ(*ParseTokenCount("2K"), 2048);
  EXPECT_EQ(*ParseTokenCount("3m"), 3'000'000);
  EXPECT_EQ(*ParseTokenCount("1M"), 1 << 20);
  EXPECT_EQ(*ParseTokenCount("2048M"), int64_t{1} << 31);
}

TEST(ParseTokenCount, LeavesItToTheModel) {
  EXPECT_EQ(*ParseTokenCount("auto"), 0);
  EXPECT_EQ(*ParseTokenCount("-1"), 0);
}

TEST(ParseTokenCount, RefusesEverythingElse) {
  for (const char* text : {"", "0", "0k", "-2", "k", "9g", "2kk", "2kK", "1.5k", "many", "Auto",
                           "2049M", "99999999999999999999"}) {
    const auto count = ParseTokenCount(text);
    EXPECT_EQ(count.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(count.status().message(), testing::HasSubstr(std::string("\"") + text + "\""));
  }
}

TEST(TokenCount, IsAFlag) {
  TokenCount count{5};
  std::string error;
  ASSERT_TRUE(AbslParseFlag("2k", &count, &error)) << error;
  EXPECT_EQ(count.value, 2000);
  EXPECT_EQ(AbslUnparseFlag(count), "2000");
  ASSERT_TRUE(AbslParseFlag("auto", &count, &error)) << error;
  EXPECT_EQ(count.value, 0);
  EXPECT_EQ(AbslUnparseFlag(count), "auto");
  EXPECT_FALSE(AbslParseFlag("many", &count, &error));
  EXPECT_EQ(
      error,
      "\"many\" is not a number of tokens: wanted 1 to 2147483648 (32768, 32k or 32K) or auto");
}

}  // namespace
}  // namespace baton
