#include "common/model/config_fields.h"

#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

namespace baton {
namespace {

using nlohmann::json;

TEST(ConfigFields, ReadsTypedValues) {
  const json object = {{"i", 7}, {"n", 0.5}, {"f", true}, {"t", "text"}, {"nothing", nullptr}};
  ConfigFields fields(object, "");
  EXPECT_EQ(fields.Integer("i", 0, 10), 7);
  EXPECT_EQ(fields.Number("n", 0, 1), 0.5);
  EXPECT_EQ(fields.Number("i", 0, 10), 7.0);
  EXPECT_TRUE(fields.Flag("f", false));
  EXPECT_EQ(fields.Text("t"), "text");
  EXPECT_EQ(fields.Integer("nothing", 0, 10, 3), 3);
  EXPECT_EQ(fields.Text("absent", "fallback"), "fallback");
  EXPECT_TRUE(fields.status().ok()) << fields.status();
}

TEST(ConfigFields, NamesFieldValueAndRange) {
  const json object = {{"layers", 11}};
  ConfigFields fields(object, "inner.");
  fields.Integer("layers", 1, 10);
  EXPECT_EQ(fields.status().message(), "inner.layers is 11; wanted an integer from 1 to 10");
}

TEST(ConfigFields, KeepsTheFirstFault) {
  const json object = {{"a", "x"}};
  ConfigFields fields(object, "");
  fields.Integer("a", 0, 1);
  fields.Integer("b", 0, 1);
  EXPECT_NE(fields.status().message().find("a is \"x\""), std::string::npos) << fields.status();
}

TEST(ConfigFields, ExpectsWhatIsThereToBeAsTold) {
  const json object = {{"flag", false}, {"count", 2}, {"nothing", nullptr}};
  ConfigFields right(object, "");
  right.ExpectFlag("flag", false);
  right.ExpectFlag("absent", true);
  right.ExpectInteger("count", 2);
  right.ExpectInteger("absent", 2);
  right.ExpectKeys({"flag", "count"});
  EXPECT_TRUE(right.status().ok()) << right.status();
  ConfigFields other_flag(object, "");
  other_flag.ExpectFlag("flag", true);
  EXPECT_EQ(other_flag.status().message(), "flag is false; supported: true");
  ConfigFields other_count(object, "inner.");
  other_count.ExpectInteger("count", 1);
  EXPECT_EQ(other_count.status().message(), "inner.count is 2; supported: 1");
  ConfigFields unknown_key(object, "inner.");
  unknown_key.ExpectKeys({"flag", "size"});
  EXPECT_EQ(unknown_key.status().message(), "inner.count is 2; known: flag, size");
}

TEST(ConfigFields, SaysWhatIsMissing) {
  const json object = json::object();
  ConfigFields fields(object, "");
  fields.Text("model_type");
  EXPECT_EQ(fields.status().message(), "model_type is missing; wanted a string");
}

TEST(ConfigFields, ExpectsOneOfTheAllowedTexts) {
  const json object = {{"a", "yes"}, {"b", "no"}, {"c", std::string(1000, 'x')}};
  ConfigFields fields(object, "");
  fields.ExpectText("a", {"yes", "maybe"});
  fields.ExpectText("absent", {"yes"});
  EXPECT_TRUE(fields.status().ok());
  fields.ExpectText("b", {"yes", "maybe"});
  EXPECT_EQ(fields.status().message(), "b is \"no\"; supported: yes, maybe");
  ConfigFields others(object, "");
  others.ExpectText("c", {"yes"});
  EXPECT_LT(others.status().message().size(), 200u);
}

}  // namespace
}  // namespace baton
