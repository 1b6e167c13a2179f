#include "common/chat_template/value_text.h"

#include <string>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace baton {
namespace {

Value FromJson(const char* json) {
  return ValueFromJson(nlohmann::ordered_json::parse(json), 100).value();
}

TEST(ValueText, PrintsAsPythonDoes) {
  EXPECT_EQ(TextOf(FromJson("null")).value(), "None");
  EXPECT_EQ(TextOf(FromJson("[true, 1, 1.0, 1e16, 1e-5, \"it's\", {\"a\": \"\\n\"}]")).value(),
            R"([True, 1, 1.0, 1e+16, 1e-05, "it's", {'a': '\n'}])");
  EXPECT_EQ(TextOf(Value::Tuple({Value(int64_t{1})})).value(), "(1,)");
  EXPECT_EQ(TextOf(Value::Undefined("x")).value(), "");
}

TEST(ValueText, WritesJsonInTheStyleAskedFor) {
  const Value value = FromJson(R"({"b": [1, "é\u0001"], "a": {}})");
  EXPECT_EQ(JsonOf(value, {}).value(), "{\"b\": [1, \"é\\u0001\"], \"a\": {}}");
  JsonStyle style;
  style.sort_keys = true;
  style.ensure_ascii = true;
  style.indent = "  ";
  EXPECT_EQ(JsonOf(value, style).value(),
            "{\n  \"a\": {},\n  \"b\": [\n    1,\n    \"\\u00e9\\u0001\"\n  ]\n}");
}

TEST(ValueText, RefusesJsonOfUndefined) { EXPECT_FALSE(JsonOf(Value::Undefined("x"), {}).ok()); }

}  // namespace
}  // namespace baton
