#include "common/structured_output/constraint.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
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

TEST(Constraint, CostIsTheLeastThatItsLimitsHaveToAllow) {
  const Constraint grammar{.kind = ConstraintKind::kGrammar,
                           .text = R"(root ::= "a" %json {"type":"string","maxLength":9})"};
  CompileCost cost;
  ASSERT_TRUE(CompileConstraint(grammar, {}, &cost).ok());
  const CompileLimits least{.text_bytes = cost.text_bytes,
                            .num_rules = cost.num_rules,
                            .num_nodes = cost.num_nodes,
                            .work = cost.work};
  EXPECT_TRUE(CompileConstraint(grammar, least).ok());
  for (size_t CompileLimits::*limit : {&CompileLimits::text_bytes, &CompileLimits::num_rules,
                                       &CompileLimits::num_nodes, &CompileLimits::work}) {
    CompileLimits less = least;
    --(less.*limit);
    EXPECT_TRUE(absl::IsInvalidArgument(CompileConstraint(grammar, less).status()));
  }
  // What is refused has its cost, too, up to there.
  CompileLimits half = least;
  half.work /= 2;
  EXPECT_FALSE(CompileConstraint(grammar, half, &cost).ok());
  EXPECT_GT(cost.work, half.work);
  EXPECT_LT(cost.work, least.work);
}

// So whoever knows what schemas cost one by one knows what they cost together.
TEST(Constraint, CostsOfRulesThatDoNotCallEachOtherAddUp) {
  const auto cost_of = [](const std::vector<std::string>& schemas) {
    Constraint grammar{.kind = ConstraintKind::kGrammar, .text = "root ::= call-0"};
    for (size_t i = 1; i < schemas.size(); ++i) absl::StrAppend(&grammar.text, " | call-", i);
    for (size_t i = 0; i < schemas.size(); ++i) {
      absl::StrAppend(&grammar.text, "\ncall-", i, " ::= \"x\" %json ", schemas[i], " \"y\"");
    }
    CompileCost cost;
    EXPECT_TRUE(CompileConstraint(grammar, {}, &cost).ok()) << grammar.text;
    return cost;
  };
  const std::string any = R"({"type":"object"})";
  const CompileCost of_any = cost_of({any});
  const CompileCost of_three = cost_of({any, any, any});
  for (const std::string schema :
       {R"({"type":"object","properties":{"a":{"type":"string","maxLength":100},"b":{}}})",
        R"({"$ref":"#/$defs/a","$defs":{"a":{"type":"object",
            "properties":{"b":{"$ref":"#/$defs/b"}}},
            "b":{"type":"array","items":{"$ref":"#/$defs/a"}}}})",
        R"({"anyOf":[{"$ref":"#/$defs/n"},{"type":"object"}],
            "$defs":{"n":{"type":"object","properties":{"next":{"$ref":"#"}},
            "required":["next"]}}})",
        R"({"type":"object","properties":{"a":{"type":"string","pattern":"^(a?b){3,40}$"}}})"}) {
    const CompileCost alone = cost_of({schema});
    for (const auto& schemas : {std::vector{schema, any, any}, std::vector{any, any, schema}}) {
      const CompileCost together = cost_of(schemas);
      EXPECT_EQ(together.work - of_three.work, alone.work - of_any.work) << schema;
      EXPECT_EQ(together.num_nodes - of_three.num_nodes, alone.num_nodes - of_any.num_nodes);
      EXPECT_EQ(together.num_rules - of_three.num_rules, alone.num_rules - of_any.num_rules);
      EXPECT_EQ(together.text_bytes - of_three.text_bytes, alone.text_bytes - of_any.text_bytes);
    }
  }
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
