#include "common/structured_output/constraint.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/unit/common/structured_output/text_matching.h"

namespace baton::structured {
namespace {

using ::testing::HasSubstr;

bool MatchesObject(absl::string_view text, bool compact = false) {
  const auto automaton =
      CompileConstraint({.kind = ConstraintKind::kJsonObject, .compact = compact});
  EXPECT_TRUE(automaton.ok()) << automaton.status();
  return Matches(*automaton, text);
}

TEST(Constraint, JsonObjectTakesEveryJsonObject) {
  EXPECT_TRUE(MatchesObject("{}"));
  EXPECT_TRUE(MatchesObject("{ }"));
  EXPECT_TRUE(MatchesObject(R"({"a": [1, -2.5e+10, true, null, {"b": "\u00e9\n\"\\"}], "": ""})"));
  EXPECT_TRUE(MatchesObject("{\n  \"k\" :\t\"深度😀\"\r\n}"));
}

TEST(Constraint, JsonObjectTakesNothingElse) {
  for (const char* text :
       {"", "[]", "1", "{", R"({"a":1,})", R"({a:1})", R"({"a":01})", R"({"a":1.})", R"({"a":+1})",
        R"({"a":"x)", "{\"a\":\"\n\"}", R"({"a":"\x"})", R"({"a":"\ud800"})", R"({"a":tru})", "{}x",
        "{\"a\":\"\xFF\"}", " {}"}) {
    EXPECT_FALSE(MatchesObject(text)) << text;
  }
}

TEST(Constraint, TextsHaveBoundsOfTheirKind) {
  const auto compile = [](ConstraintKind kind, const std::string& text) {
    return CompileConstraint({.kind = kind, .text = text}).status();
  };
  const auto schema = [](size_t num_bytes) {
    const std::string frame = R"({"type":"integer","description":""})";
    return R"({"type":"integer","description":")" + std::string(num_bytes - frame.size(), 'x') +
           "\"}";
  };
  EXPECT_TRUE(compile(ConstraintKind::kJsonSchema, schema(64 << 10)).ok());
  EXPECT_THAT(std::string(compile(ConstraintKind::kJsonSchema, schema((64 << 10) + 1)).message()),
              HasSubstr("at most 65536"));
  EXPECT_TRUE(compile(ConstraintKind::kRegex, std::string(2048, 'a')).ok());
  EXPECT_THAT(std::string(compile(ConstraintKind::kRegex, std::string(2049, 'a')).message()),
              HasSubstr("at most 2048"));
  // A grammar holds the schemas of all functions of a request.
  const std::string grammar = "root ::= \"a\" # " + std::string(200'000, 'x') + "\n";
  EXPECT_TRUE(compile(ConstraintKind::kGrammar, grammar).ok());
}

TEST(Constraint, BlanksHaveAnEnd) {
  EXPECT_TRUE(MatchesObject("{" + std::string(64, ' ') + "}"));
  EXPECT_FALSE(MatchesObject("{" + std::string(65, ' ') + "}"));
}

TEST(Constraint, CompactHasOneSpelling) {
  EXPECT_TRUE(MatchesObject(R"({"a": [1, 2]})", true));
  EXPECT_FALSE(MatchesObject(R"({"a":[1, 2]})", true));
  EXPECT_FALSE(MatchesObject("{ }", true));
}

TEST(Constraint, WhitespacePatternReplacesBlanks) {
  const auto automaton =
      CompileConstraint({.kind = ConstraintKind::kJsonObject, .whitespace_pattern = "[ \\n]?"});
  ASSERT_TRUE(automaton.ok());
  EXPECT_TRUE(Matches(*automaton, "{ \"a\":\n1}"));
  EXPECT_FALSE(Matches(*automaton, "{  }"));
}

TEST(Constraint, WhitespacePatternHasTheLimitOfARegularExpression) {
  const auto compile = [](ConstraintKind kind, size_t bytes) {
    return CompileConstraint(
        {.kind = kind, .text = "{}", .whitespace_pattern = std::string(bytes, 'x')});
  };
  const size_t most = CompileLimits().regex_bytes;
  for (const ConstraintKind kind : {ConstraintKind::kJsonObject, ConstraintKind::kJsonSchema}) {
    EXPECT_TRUE(compile(kind, most).ok());
    EXPECT_TRUE(absl::IsInvalidArgument(compile(kind, most + 1).status()));
  }
}

TEST(Constraint, ChoiceTakesExactlyTheChoices) {
  const auto automaton = CompileConstraint(
      {.kind = ConstraintKind::kChoice, .choices = {"yes", "yes please", "non", "\"q\" 好"}});
  ASSERT_TRUE(automaton.ok());
  EXPECT_TRUE(Matches(*automaton, "yes"));
  EXPECT_TRUE(Matches(*automaton, "yes please"));
  EXPECT_TRUE(Matches(*automaton, "\"q\" 好"));
  EXPECT_FALSE(Matches(*automaton, "yes "));
  EXPECT_FALSE(Matches(*automaton, "no"));
}

TEST(Constraint, RefusesEmptyAndTooLargeChoices) {
  EXPECT_THAT(CompileConstraint({.kind = ConstraintKind::kChoice}).status().message(),
              HasSubstr("no choice"));
  EXPECT_THAT(
      CompileConstraint({.kind = ConstraintKind::kChoice, .choices = {""}}).status().message(),
      HasSubstr("empty"));
  const Constraint large{.kind = ConstraintKind::kChoice,
                         .choices = {std::string(200'000, 'x'), std::string(200'000, 'y')}};
  EXPECT_THAT(CompileConstraint(large).status().message(), HasSubstr("bytes"));
}

}  // namespace
}  // namespace baton::structured
