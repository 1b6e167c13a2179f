#include "services/gateway/json/strict_json.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/utf8/utf8.h"

namespace baton::gateway {
namespace {

using testing::HasSubstr;

std::string ErrorOf(const std::string& text, const JsonLimits& limits = {}) {
  return std::string(ParseStrictJson(text, limits).status().message());
}

TEST(StrictJson, KeepsValuesAndTheOrderOfKeys) {
  const auto json = ParseStrictJson(R"({"z":1,"a":[true,null,-2.5,"x"],"m":{"k":[]}})");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->dump(), R"({"z":1,"a":[true,null,-2.5,"x"],"m":{"k":[]}})");
}

TEST(StrictJson, RefusesAKeyTwiceAtAnyDepth) {
  EXPECT_THAT(ErrorOf(R"({"a":1,"a":2})"), HasSubstr("duplicate key \"a\""));
  EXPECT_THAT(ErrorOf(R"([{"b":{"a":1,"a":2}}])"), HasSubstr("duplicate key"));
  EXPECT_TRUE(ParseStrictJson(R"([{"a":1},{"a":2}])").ok());
}

TEST(StrictJson, QuotesBrokenBytesAsValidText) {
  const absl::Status status = ParseStrictJson("{\"a\xf6\": 1}", {}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_TRUE(IsValidUtf8(status.message())) << status;
}

TEST(StrictJson, RefusesTooDeepNesting) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(ParseStrictJson(nested(64)).ok());
  EXPECT_THAT(ErrorOf(nested(65)), HasSubstr("more than 64 nested"));
  EXPECT_THAT(ErrorOf(std::string(100000, '[')), HasSubstr("more than 64 nested"));
}

TEST(StrictJson, RefusesTooManyKeysAndValues) {
  EXPECT_THAT(ErrorOf(R"({"a":1,"b":2,"c":3})", {.keys_per_object = 2}), HasSubstr("2 keys"));
  EXPECT_THAT(ErrorOf("[1,2,3]", {.values = 3}), HasSubstr("3 values"));
}

TEST(StrictJson, RefusesWhatIsNoJson) {
  for (const char* text : {"", "{", "nul", "NaN", "[1,]", "{\"a\":}", "1e999", "\"\xff\"",
                           "\"\\ud800\"", "\"\x01\"", "{} {}", "'a'"}) {
    EXPECT_EQ(ParseStrictJson(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(AppendJsonString, EscapesWhatMustBe) {
  std::string out;
  AppendJsonString("a\"\\\n\t\x01é🎉", &out);
  EXPECT_EQ(out, "\"a\\\"\\\\\\n\\t\\u0001é🎉\"");
  EXPECT_EQ(nlohmann::json::parse(out), "a\"\\\n\t\x01é🎉");
}

TEST(DumpJson, ReplacesWhatIsNoUtf8) { EXPECT_EQ(DumpJson(Json("a\xff")), "\"a\xEF\xBF\xBD\""); }

}  // namespace
}  // namespace baton::gateway
