#include "common/structured_output/schema_compiler.h"

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/structured_output/number_range.h"
#include "tests/unit/common/structured_output/text_matching.h"

namespace baton::structured {
namespace {

using ::testing::HasSubstr;

// Whether the text is taken under the schema.
bool Takes(absl::string_view schema, absl::string_view text) {
  const auto automaton =
      CompileConstraint({.kind = ConstraintKind::kJsonSchema, .text = std::string(schema)});
  if (automaton.ok()) return Matches(*automaton, text);
  ADD_FAILURE() << schema << ": " << automaton.status();
  return false;
}

std::string SchemaRefusal(absl::string_view schema) {
  return Refusal(ConstraintKind::kJsonSchema, schema);
}

constexpr absl::string_view kPerson = R"({
  "title": "Person", "type": "object",
  "properties": {"name": {"type": "string", "minLength": 1},
                 "age": {"type": "integer", "minimum": 0, "maximum": 150},
                 "mail": {"anyOf": [{"type": "string", "format": "email"}, {"type": "null"}]},
                 "tags": {"type": "array", "items": {"enum": ["a", "b", 3]}, "maxItems": 2}},
  "required": ["name", "age"]})";

TEST(SchemaCompiler, TakesPropertiesInOrder) {
  EXPECT_TRUE(Takes(kPerson, R"({"name": "x", "age": 7})"));
  EXPECT_TRUE(Takes(kPerson, R"({"name":"é\n","age":150,"mail":null,"tags":["a", 3]})"));
  EXPECT_TRUE(Takes(kPerson, R"({"name":"x","age":0,"tags":[]})"));
  EXPECT_FALSE(Takes(kPerson, R"({"age": 7, "name": "x"})"));
  EXPECT_FALSE(Takes(kPerson, R"({"name": "x"})"));
  EXPECT_FALSE(Takes(kPerson, R"({"name": "", "age": 7})"));
  EXPECT_FALSE(Takes(kPerson, R"({"name": "x", "age": 151})"));
  EXPECT_FALSE(Takes(kPerson, R"({"name": "x", "age": 7, "other": 1})"));
  EXPECT_FALSE(Takes(kPerson, R"({"name": "x", "age": 7, "tags": ["a", "b", 3]})"));
}

TEST(SchemaCompiler, OptionalPropertiesMayAllBeMissing) {
  constexpr absl::string_view schema =
      R"({"properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}}})";
  for (const char* text : {"{}", R"({"a": 1})", R"({"b": 2})", R"({"c": 3})", R"({"a": 1, "c": 3})",
                           R"({"b": 2, "c": 3})", R"({"a": 1, "b": 2, "c": 3})"}) {
    EXPECT_TRUE(Takes(schema, text)) << text;
  }
  for (const char* text : {R"({, "a": 1})", R"({"a": 1,})", R"({"c": 3, "a": 1})", R"({"a": 2})"}) {
    EXPECT_FALSE(Takes(schema, text)) << text;
  }
}

TEST(SchemaCompiler, OtherPropertiesComeLastAndAreNotTheNamedOnes) {
  constexpr absl::string_view schema =
      R"({"properties": {"foo": {"type": "integer"}}, "additionalProperties": {"type": "boolean"}})";
  EXPECT_TRUE(Takes(schema, R"({"foo": 1, "fo": true, "fooo": false, "": true})"));
  EXPECT_TRUE(Takes(schema, R"({"x": true})"));
  EXPECT_FALSE(Takes(schema, R"({"foo": true})"));
  EXPECT_FALSE(Takes(schema, R"({"x": 1})"));
  EXPECT_TRUE(Takes(R"({"type": "object", "minProperties": 1, "maxProperties": 2})",
                    R"({"a": 1, "b": [2]})"));
  EXPECT_FALSE(Takes(R"({"type": "object", "minProperties": 1})", "{}"));
}

TEST(SchemaCompiler, ArraysHavePrefixesAndBounds) {
  constexpr absl::string_view schema =
      R"({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3},
          "minItems": 1, "maxItems": 4})";
  for (const char* text : {"[1]", "[1, 2]", "[1,2,3]", "[ 1 , 2 , 3 , 3 ]"}) {
    EXPECT_TRUE(Takes(schema, text)) << text;
  }
  for (const char* text : {"[]", "[2]", "[1, 3]", "[1,2,3,3,3]", "[1,]"}) {
    EXPECT_FALSE(Takes(schema, text)) << text;
  }
}

TEST(SchemaCompiler, FollowsReferencesAlsoInCircles) {
  constexpr absl::string_view tree = R"({"$ref": "#/$defs/node", "$defs": {"node": {
      "type": "object", "properties": {"value": {"type": "integer"},
      "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
      "required": ["value", "next"]}}})";
  EXPECT_TRUE(Takes(tree, R"({"value":1,"next":{"value":2,"next":null}})"));
  EXPECT_FALSE(Takes(tree, R"({"value":1,"next":{"value":2}})"));
  EXPECT_TRUE(Takes(R"({"type": "array", "items": {"$ref": "#"}})", "[[],[[]]]"));
}

TEST(SchemaCompiler, MergesWhatMustHoldTogether) {
  constexpr absl::string_view schema = R"({"allOf": [
      {"type": "object", "properties": {"a": {"type": "integer", "minimum": 5}}, "required": ["a"]},
      {"properties": {"a": {"maximum": 9}, "b": {"type": "string"}}, "required": ["b"]}]})";
  EXPECT_TRUE(Takes(schema, R"({"a": 9, "b": ""})"));
  EXPECT_FALSE(Takes(schema, R"({"a": 10, "b": ""})"));
  EXPECT_FALSE(Takes(schema, R"({"a": 9})"));
}

TEST(SchemaCompiler, OneOfTakesBranchesThatATagTellsApart) {
  constexpr absl::string_view schema = R"({"oneOf": [
      {"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}},
       "required": ["kind"]},
      {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]}]})";
  EXPECT_TRUE(Takes(schema, R"({"kind":"a","x":1})"));
  EXPECT_TRUE(Takes(schema, R"({"kind":"b"})"));
  EXPECT_FALSE(Takes(schema, R"({"kind":"b","x":1})"));
  EXPECT_THAT(SchemaRefusal(R"({"oneOf": [{"type": "integer"}, {"minimum": 2}]})"),
              HasSubstr("#/oneOf/1"));
}

TEST(SchemaCompiler, StringsHaveLengthsPatternsAndFormats) {
  EXPECT_TRUE(Takes(R"({"type": "string", "maxLength": 2})", R"("深\n")"));
  EXPECT_FALSE(Takes(R"({"type": "string", "maxLength": 2})", R"("abc")"));
  EXPECT_TRUE(Takes(R"({"type": "string", "minLength": 3, "maxLength": 5000})", R"("abc")"));
  EXPECT_FALSE(Takes(R"({"type": "string", "minLength": 600})", R"("abc")"));
  EXPECT_TRUE(Takes(R"({"type": "string", "pattern": "^[a-z]+$", "maxLength": 3})", R"("abc")"));
  EXPECT_FALSE(Takes(R"({"type": "string", "pattern": "^[a-z]+$", "maxLength": 3})", R"("abcd")"));
  EXPECT_TRUE(Takes(R"({"type": "string", "pattern": "\"q\\d"})", R"("is \"q7 there")"));
  const std::vector<std::vector<std::string>> formats = {
      {"date", "2024-02-29", "2024-02-30"},
      {"time", "23:59:59Z", "24:00:00Z"},
      {"date-time", "2024-01-31T00:00:00.5+01:00", "2024-01-31 00:00:00Z"},
      {"duration", "P1Y2M3DT4H5M6S", "P"},
      {"duration", "PT36H", "P1S"},
      {"uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"},
      {"email", "joe.bloggs+x@example.com", "joe@@example.com"},
      {"ipv4", "192.168.0.1", "256.0.0.1"},
      {"ipv6", "::1", ":::1"},
      {"ipv6", "2001:db8::8a2e:370:7334", "1:2:3:4:5:6:7:8:9"},
      {"hostname", "www.example.com", "-a.com"},
      {"uri", "https://example.com/a?b=%20", "no uri"}};
  for (const auto& format : formats) {
    const std::string schema = absl::StrCat(R"({"type":"string","format":")", format[0], "\"}");
    EXPECT_TRUE(Takes(schema, absl::StrCat("\"", format[1], "\""))) << format[1];
    EXPECT_FALSE(Takes(schema, absl::StrCat("\"", format[2], "\""))) << format[2];
  }
}

TEST(SchemaCompiler, SaysWhatIsNotSupportedAndWhere) {
  EXPECT_THAT(SchemaRefusal(R"({"properties": {"a": {"not": {}}}})"),
              HasSubstr("JSON schema at #/properties/a: keyword \"not\" is not supported"));
  EXPECT_THAT(SchemaRefusal(R"({"items": {"multipleOf": 3}})"), HasSubstr("#/items"));
  EXPECT_THAT(SchemaRefusal(R"({"type": "string", "format": "regex"})"), HasSubstr("\"regex\""));
  EXPECT_THAT(SchemaRefusal(R"({"type": "text"})"), HasSubstr("\"text\" is not known"));
  EXPECT_THAT(SchemaRefusal(R"({"$ref": "http://x/y"})"), HasSubstr("not supported"));
  EXPECT_THAT(SchemaRefusal(R"({"$ref": "#/$defs/no"})"), HasSubstr("points to nothing"));
  EXPECT_THAT(SchemaRefusal(R"({"$ref": "#"})"), HasSubstr("no text"));
  EXPECT_THAT(SchemaRefusal(R"({"allOf": [{"$ref": "#"}]})"), HasSubstr("nested deeper"));
  EXPECT_THAT(SchemaRefusal(R"s({"pattern": "(?=a)"})s"), HasSubstr("#/pattern"));
  EXPECT_THAT(SchemaRefusal(R"({"minLength": "x"})"), HasSubstr("must be a count"));
  EXPECT_THAT(SchemaRefusal(R"({"enum": []})"), HasSubstr("no text"));
  EXPECT_THAT(SchemaRefusal("{"), HasSubstr("no JSON"));
  EXPECT_THAT(SchemaRefusal("[]"), HasSubstr("must be an object"));
}

TEST(SchemaCompiler, NeverTakesLongOnHostileSchemas) {
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += R"({"items":)";
  deep += "{}" + std::string(1000, '}');
  EXPECT_THAT(SchemaRefusal(deep), HasSubstr("nested deeper"));
  std::string doubling = R"({"$ref": "#/$defs/a0", "$defs": {)";
  for (int i = 0; i < 30; ++i) {
    absl::StrAppend(&doubling, "\"a", i, R"(": {"allOf": [{"$ref": "#/$defs/a)", i + 1,
                    R"("}, {"$ref": "#/$defs/a)", i + 1, "\"}]},");
  }
  EXPECT_THAT(SchemaRefusal(doubling + R"("a30": {"type": "integer"}}})"), HasSubstr("too large"));
}

std::string Number(int thousandths, std::mt19937* random) {
  const int whole = std::abs(thousandths) / 1000;
  std::string text = absl::StrCat(thousandths < 0 ? "-" : "", whole);
  const int fraction = std::abs(thousandths) % 1000;
  if (fraction == 0 && (*random)() % 2 == 0) return text;
  std::string digits = absl::StrCat(1000 + fraction).substr(1);
  while (digits.size() > 1 && digits.back() == '0' && (*random)() % 2 == 0) digits.pop_back();
  return absl::StrCat(text, ".", digits);
}

TEST(NumberRange, TakesExactlyWhatLiesBetween) {
  std::mt19937 random(4);
  const auto below = [&random](int bound) { return static_cast<int>(random() % bound); };
  for (int i = 0; i < 400; ++i) {
    const int scale = i % 2 == 0 ? 3000 : 30000;
    const int low = below(2 * scale) - scale;
    const int high = low + below(scale);
    const bool has_low = below(5) > 0, has_high = below(5) > 0;
    const bool low_open = below(2) == 0, high_open = below(2) == 0;
    CompileBudget budget{CompileLimits{}};
    Grammar grammar(&budget);
    grammar.root = grammar.AddRule("root");
    NumberRange range;
    if (has_low) range.low = NumberBound{Number(low, &random), low_open};
    if (has_high) range.high = NumberBound{Number(high, &random), high_open};
    grammar.SetBody(grammar.root, SpellNumbers(range, &grammar));
    const auto automaton = CompileGrammar(grammar);
    for (int j = 0; j < 60; ++j) {
      const int value = j % 3 == 0
                            ? low + below(5) - 2
                            : (j % 3 == 1 ? high + below(5) - 2 : below(4 * scale) - 2 * scale);
      const bool expected = (!has_low || (low_open ? value > low : value >= low)) &&
                            (!has_high || (high_open ? value < high : value <= high));
      const std::string text = Number(value, &random);
      const bool matches = automaton.ok() && Matches(*automaton, text);
      ASSERT_EQ(matches, expected) << text << " in " << (has_low ? low : -1) << " " << low_open
                                   << " " << (has_high ? high : -1) << " " << high_open;
    }
  }
}

TEST(NumberRange, WritesDoublesWithoutExponent) {
  EXPECT_EQ(*PlainDecimal(1e3), "1000");
  EXPECT_EQ(*PlainDecimal(-0.001), "-0.001");
  EXPECT_EQ(*PlainDecimal(12.5), "12.5");
  EXPECT_EQ(*PlainDecimal(1e21), "1000000000000000000000");
  EXPECT_EQ(*PlainDecimal(0), "0");
  EXPECT_FALSE(PlainDecimal(1e301).ok());
}

}  // namespace
}  // namespace baton::structured
