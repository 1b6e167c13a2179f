#include "services/gateway/openai/structured_fields.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"
#include "services/gateway/admission/request_validator.h"

namespace baton::gateway {
namespace {

using structured::ConstraintKind;

absl::StatusOr<RequestedParams> ReadFields(const std::string& body) {
  const Json json = Json::parse(body);
  FieldReader reader(json);
  RequestedParams params;
  ReadStructuredFields(reader, &params);
  if (!reader.status().ok()) return reader.status();
  return params;
}

std::string RefusedBy(const std::string& body) { return RefusedField(ReadFields(body).status()); }

TEST(StructuredFields, ReadsTheResponseFormats) {
  EXPECT_FALSE(ReadFields(R"({"response_format": {"type": "text"}})")->constraint.has_value());
  EXPECT_EQ(
      ReadFields(R"({"response_format": {"type": "json_object"}})")->constraint->constraint.kind,
      ConstraintKind::kJsonObject);
  const auto schema = ReadFields(R"({"response_format": {"type": "json_schema", "json_schema":
      {"name": "n", "schema": {"properties": {"z": {}, "a": {}}}}}})");
  EXPECT_EQ(schema->constraint->constraint.kind, ConstraintKind::kJsonSchema);
  // The order of properties is the client's.
  EXPECT_EQ(schema->constraint->constraint.text, R"({"properties":{"z":{},"a":{}}})");
}

TEST(StructuredFields, ReadsPresentAndFormerNames) {
  for (const char* body :
       {R"({"structured_outputs": {"regex": "a+"}})", R"({"guided_regex": "a+"})"}) {
    EXPECT_EQ(ReadFields(body)->constraint->constraint.kind, ConstraintKind::kRegex);
    EXPECT_EQ(ReadFields(body)->constraint->constraint.text, "a+");
  }
  EXPECT_EQ(ReadFields(R"({"guided_choice": ["a", "b"]})")->constraint->constraint.choices.size(),
            2u);
  EXPECT_EQ(ReadFields(R"({"guided_grammar": "root ::= \"a\""})")->constraint->constraint.kind,
            ConstraintKind::kGrammar);
  EXPECT_EQ(ReadFields(R"({"guided_json": "{\"type\": \"null\"}"})")->constraint->constraint.text,
            R"({"type": "null"})");
  const auto compact = ReadFields(
      R"({"structured_outputs": {"json_object": true, "disable_any_whitespace": true}})");
  EXPECT_TRUE(compact->constraint->constraint.compact);
  EXPECT_EQ(*ReadFields(R"({"guided_json": {}, "guided_whitespace_pattern": " ?",
                            "guided_decoding_backend": "xgrammar"})")
                 ->constraint->constraint.whitespace_pattern,
            " ?");
}

TEST(StructuredFields, NamesWhatIsWrong) {
  EXPECT_EQ(RefusedBy(R"({"response_format": {"type": "json_schema"}})"), "response_format");
  EXPECT_EQ(RefusedBy(R"({"response_format": "json_object"})"), "response_format");
  EXPECT_EQ(RefusedBy(R"({"structured_outputs": {}})"), "structured_outputs");
  EXPECT_EQ(RefusedBy(R"({"structured_outputs": {"choice": []}})"), "structured_outputs.choice");
  EXPECT_EQ(RefusedBy(R"({"structured_outputs": {"choice": [1]}})"), "structured_outputs.choice");
  EXPECT_EQ(RefusedBy(R"({"structured_outputs": {"structural_tag": "x"}})"),
            "structured_outputs.structural_tag");
  EXPECT_EQ(RefusedBy(R"({"guided_regex": ""})"), "guided_regex");
  EXPECT_EQ(RefusedBy(R"({"guided_regex": "a\u0000"})"), "guided_regex");
  EXPECT_EQ(RefusedBy(R"({"guided_json": 3})"), "guided_json");
  EXPECT_EQ(RefusedBy(R"({"guided_json": {}, "guided_regex": "a"})"), "guided_regex");
  EXPECT_EQ(RefusedBy(R"({"response_format": {"type": "json_object"}, "guided_json": {}})"),
            "guided_json");
}

TEST(StructuredFields, HowJsonIsWrittenIsForJsonOnly) {
  const auto refused = [](const std::string& constraint, const std::string& style) {
    return RefusedBy(R"({"structured_outputs": {)" + constraint + ", " + style + "}}");
  };
  for (const std::string constraint :
       {R"("regex": "a")", R"("choice": ["a"])", R"("grammar": "root ::= [a]")"}) {
    EXPECT_EQ(refused(constraint, R"("disable_any_whitespace": true)"),
              "structured_outputs.disable_any_whitespace");
    EXPECT_EQ(refused(constraint, R"("whitespace_pattern": " ")"),
              "structured_outputs.whitespace_pattern");
    EXPECT_EQ(refused(constraint, R"("disable_additional_properties": true)"),
              "structured_outputs.disable_additional_properties");
    EXPECT_EQ(refused(constraint, R"("disable_any_whitespace": false)"), "");
  }
  EXPECT_EQ(refused(R"("json_object": true)", R"("disable_additional_properties": true)"),
            "structured_outputs.disable_additional_properties");
  EXPECT_EQ(refused(R"("json": {})", R"("disable_additional_properties": true)"), "");
  EXPECT_EQ(refused(R"("json": {})", R"("whitespace_pattern": "", "disable_any_whitespace": true)"),
            "structured_outputs.whitespace_pattern");
  EXPECT_EQ(*ReadFields(R"({"structured_outputs": {"json": {}, "whitespace_pattern": ""}})")
                 ->constraint->constraint.whitespace_pattern,
            "");
  EXPECT_EQ(RefusedBy(R"({"guided_regex": "a", "guided_whitespace_pattern": " "})"),
            "guided_whitespace_pattern");
  EXPECT_EQ(RefusedBy(R"({"guided_whitespace_pattern": " "})"), "guided_whitespace_pattern");
}

TEST(StructuredFields, BothWaysToSayHowJsonIsWrittenAreOne) {
  for (const char* style : {R"("whitespace_pattern": " ")", R"("disable_any_whitespace": true)"}) {
    EXPECT_EQ(RefusedBy(absl::StrCat(R"({"structured_outputs": {"json": {}, )", style,
                                     R"(}, "guided_whitespace_pattern": "x"})")),
              "guided_whitespace_pattern");
  }
  // It holds of a schema that stands elsewhere, too.
  EXPECT_EQ(*ReadFields(R"({"response_format": {"type": "json_object"},
                            "structured_outputs": {"whitespace_pattern": " ?"}})")
                 ->constraint->constraint.whitespace_pattern,
            " ?");
}

TEST(StructuredFields, WhatDoesNotCompileIsRefusedWithTheReason) {
  const RequestValidator validator({}, {.max_model_len = 100, .vocab_size = 50});
  const auto refused = validator.Admit(*ReadFields(R"({"guided_json": {"items": {"not": {}}}})"));
  EXPECT_EQ(RefusedField(refused.status()), "guided_json");
  EXPECT_NE(refused.status().message().find("#/items: keyword \"not\""), std::string::npos)
      << refused.status();
  EXPECT_NE(validator.Admit(*ReadFields(R"({"guided_json": {}})"))->constraint, nullptr);
}

}  // namespace
}  // namespace baton::gateway
