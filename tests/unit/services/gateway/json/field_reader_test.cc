#include "services/gateway/json/field_reader.h"

#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

TEST(FieldReader, ReadsWhatIsThereAndLeavesTheRest) {
  const Json json =
      Json::parse(R"({"b":true,"i":5,"whole":7.0,"d":0.5,"s":"x","l":[1,2],"nothing":null})");
  FieldReader reader(json);
  bool flag = false;
  int64_t integer = 0;
  int64_t untouched = 9;
  std::optional<int64_t> whole;
  std::optional<double> number;
  std::string text;
  std::vector<int64_t> list;
  reader.Read("b", &flag);
  reader.Read("i", &integer);
  reader.Read("whole", &whole);
  reader.Read("d", &number);
  reader.Read("s", &text);
  reader.Read("l", &list);
  reader.Read("nothing", &untouched);
  reader.Read("absent", &untouched);
  ASSERT_TRUE(reader.status().ok()) << reader.status();
  EXPECT_TRUE(flag);
  EXPECT_EQ(integer, 5);
  EXPECT_EQ(whole, 7);
  EXPECT_EQ(number, 0.5);
  EXPECT_EQ(text, "x");
  EXPECT_EQ(list, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(untouched, 9);
}

TEST(FieldReader, WrongTypesNameTheField) {
  for (const char* text : {R"({"f":"5"})", R"({"f":true})", R"({"f":1.5})", R"({"f":[5]})",
                           R"({"f":{}})", R"({"f":18446744073709551615})", R"({"f":1e300})"}) {
    const Json json = Json::parse(text);
    FieldReader reader(json);
    std::optional<int64_t> value;
    reader.Read("f", &value);
    EXPECT_EQ(RefusedField(reader.status()), "f") << text;
    EXPECT_FALSE(value.has_value()) << text;
  }
}

TEST(FieldReader, KeepsTheFirstError) {
  const Json json = Json::parse(R"({"a":"x","b":"y"})");
  FieldReader reader(json);
  int64_t value = 0;
  reader.Read("b", &value);
  reader.Read("a", &value);
  EXPECT_EQ(RefusedField(reader.status()), "b");
}

TEST(FieldReader, NamesFieldsNobodyAskedFor) {
  const Json json = Json::parse(R"({"a":1,"b":2,"c":3})");
  FieldReader reader(json);
  reader.Find("b");
  EXPECT_THAT(reader.UnknownFields(), testing::ElementsAre("a", "c"));
}

}  // namespace
}  // namespace baton::gateway
