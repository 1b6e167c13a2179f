// Which answers the grammar of calls matches.
#include "services/gateway/text/tool_call_grammar.h"

#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/common/structured_output/text_matching.h"

namespace baton::gateway {
namespace {

using structured::MatchesGrammar;

std::string Grammar(ToolCallFormat format, bool required, bool parallel = true,
                    bool may_reason = false) {
  return ToolCallGrammar(
      {.format = format,
       .functions = {{.name = "weather",
                      .schema = R"({"type":"object","properties":{"city":{"type":"string"}},)"
                                R"("required":["city"]})"},
                     {.name = "time", .schema = R"({"type":"object"})"}},
       .parallel = parallel,
       .required = required,
       .may_reason = may_reason,
       .token_of_tag = [](absl::string_view) { return std::optional<uint32_t>(); }});
}

std::string CallText(ToolCallFormat format, const std::string& name, const std::string& arguments) {
  if (format == ToolCallFormat::kDeepSeekV31) {
    return "<｜tool▁call▁begin｜>" + name + "<｜tool▁sep｜>" + arguments + "<｜tool▁call▁end｜>";
  }
  return "<｜tool▁call▁begin｜>function<｜tool▁sep｜>" + name + "\n```json\n" + arguments +
         "\n```<｜tool▁call▁end｜>";
}

std::string InTags(const std::string& calls) {
  return "<｜tool▁calls▁begin｜>" + calls + "<｜tool▁calls▁end｜>";
}

class ToolCallGrammarOf : public testing::TestWithParam<ToolCallFormat> {
 protected:
  std::string Weather(const std::string& arguments) {
    return CallText(GetParam(), "weather", arguments);
  }
};

TEST_P(ToolCallGrammarOf, RequiredCallsHaveNoTextAroundThem) {
  const std::string grammar = Grammar(GetParam(), /*required=*/true);
  const std::string call = InTags(Weather(R"({"city": "Bonn"})"));
  EXPECT_TRUE(MatchesGrammar(grammar, call));
  EXPECT_TRUE(MatchesGrammar(grammar, "\n\n" + call));
  EXPECT_FALSE(MatchesGrammar(grammar, "So: " + call));
  EXPECT_FALSE(MatchesGrammar(grammar, "It rains."));
}

TEST_P(ToolCallGrammarOf, TextMayStandBeforeCallsThatAreNotRequiredOrAlone) {
  const std::string grammar = Grammar(GetParam(), /*required=*/false);
  const std::string call = InTags(Weather(R"({"city": "Bonn"})"));
  for (const std::string text : {"", "\n\n", "It rains. 1 < 2 << 3 <b> <|x|> ｜ <", "a\n<\n"}) {
    EXPECT_TRUE(MatchesGrammar(grammar, text)) << text;
    EXPECT_TRUE(MatchesGrammar(grammar, text + call)) << text;
  }
  EXPECT_FALSE(MatchesGrammar(grammar, call + " Done."));
}

TEST_P(ToolCallGrammarOf, CallsThatAreNotRequiredKeepToTheirSchemas) {
  const std::string grammar = Grammar(GetParam(), /*required=*/false);
  EXPECT_FALSE(MatchesGrammar(grammar, InTags(Weather(R"({"town": "Bonn"})"))));
  EXPECT_FALSE(MatchesGrammar(grammar, InTags(Weather("{}"))));
  EXPECT_FALSE(MatchesGrammar(grammar, InTags(CallText(GetParam(), "stars", "{}"))));
  EXPECT_TRUE(MatchesGrammar(grammar, InTags(CallText(GetParam(), "time", R"({"any": [1]})"))));
  EXPECT_FALSE(MatchesGrammar(grammar, InTags(CallText(GetParam(), "time", "1"))));
  // Nor is there a way around it: neither a call without the pair of tags around all, nor text.
  EXPECT_FALSE(MatchesGrammar(grammar, Weather(R"({"city": "Bonn"})")));
  EXPECT_FALSE(MatchesGrammar(grammar, "<<｜tool▁calls▁begin｜>"));
  EXPECT_FALSE(MatchesGrammar(grammar, "<｜"));
}

TEST_P(ToolCallGrammarOf, OneCallOnlyUnlessParallel) {
  const std::string call = Weather(R"({"city": "Bonn"})");
  for (const bool required : {false, true}) {
    EXPECT_TRUE(MatchesGrammar(Grammar(GetParam(), required), InTags(call + "\n" + call)));
    EXPECT_FALSE(MatchesGrammar(Grammar(GetParam(), required, /*parallel=*/false),
                                InTags(call + "\n" + call)));
  }
}

TEST_P(ToolCallGrammarOf, ReasoningMayStandBeforeAllWhereTheModelOpensIt) {
  const std::string grammar = Grammar(GetParam(), /*required=*/false, /*parallel=*/true,
                                      /*may_reason=*/true);
  const std::string call = InTags(Weather(R"({"city": "Bonn"})"));
  const std::string reasoning = "\n<think>\nWhy? <b> <｜x｜> ü\n</think>";
  for (const std::string& before :
       std::vector<std::string>{"", "So: ", reasoning, reasoning + "So: "}) {
    EXPECT_TRUE(MatchesGrammar(grammar, before)) << before;
    EXPECT_TRUE(MatchesGrammar(grammar, before + call)) << before;
    EXPECT_FALSE(MatchesGrammar(grammar, before + InTags(Weather("{}")))) << before;
  }
}

// Whoever reads the answer would see reasoning end there, and a call behind that no schema binds.
TEST_P(ToolCallGrammarOf, ReasoningDoesNotSpellItsOwnEnd) {
  const std::string grammar = Grammar(GetParam(), /*required=*/false, /*parallel=*/true,
                                      /*may_reason=*/true);
  const std::string unbound = InTags(Weather("{}"));
  for (const std::string before : {"", "<", "</thin", "a</b>"}) {
    EXPECT_FALSE(MatchesGrammar(
        grammar, "<think>" + before + "</think>" + unbound + "</think>So: " + unbound));
    EXPECT_FALSE(MatchesGrammar(grammar, "<think>" + before + "</think>" + unbound + "</think>"));
  }
  for (const std::string reasoning :
       {"", "<", "a << b", "</b>", "<b></b>", "</", "</think", "</thinker>", "<</thin>", "/think>",
        "< /think>", "<think>", "ü</ü"}) {
    EXPECT_TRUE(MatchesGrammar(grammar, "<think>" + reasoning + "</think>So.")) << reasoning;
  }
}

TEST(ToolCallGrammar, ReasoningMaySpellItsOwnEndIfThatIsAToken) {
  ToolCallGrammarOptions options{
      .format = ToolCallFormat::kDeepSeekV31,
      .functions = {{.name = "time", .schema = R"({"type":"object"})"}},
      .required = false,
      .may_reason = true,
      .token_of_tag = [](absl::string_view tag) -> std::optional<uint32_t> {
        if (tag == "<think>") return 1;
        if (tag == "</think>") return 2;
        return std::nullopt;
      }};
  // The bytes that stand for these two tokens.
  const std::string grammar = ToolCallGrammar(options);
  EXPECT_TRUE(MatchesGrammar(grammar, "\xF8Why </think>?\xF9So."));
  EXPECT_FALSE(MatchesGrammar(grammar, "\xF8Why</think>So."));
  EXPECT_FALSE(MatchesGrammar(grammar, "\xF8Why\xF9So\xF9"));
}

INSTANTIATE_TEST_SUITE_P(Formats, ToolCallGrammarOf,
                         testing::Values(ToolCallFormat::kDeepSeekV3,
                                         ToolCallFormat::kDeepSeekV31));

}  // namespace
}  // namespace baton::gateway
