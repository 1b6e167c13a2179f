#include "services/gateway/text/reasoning_parser.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

using Options = ReasoningParser::Options;

struct Split {
  std::string reasoning;
  std::string content;

  bool operator==(const Split&) const = default;
};

Split SplitPieces(const Options& options, const std::vector<std::string>& pieces) {
  ReasoningParser parser(options);
  Split split;
  const auto add = [&split](const ReasoningDelta& delta) {
    split.reasoning += delta.reasoning;
    split.content += delta.content;
  };
  for (const std::string& piece : pieces) add(parser.Push(piece));
  add(parser.Flush());
  return split;
}

constexpr Options kInside = {ReasoningFormat::kDeepSeekR1, true};
constexpr Options kOutside = {ReasoningFormat::kDeepSeekR1, false};

TEST(ReasoningParser, PassesEverythingAsContentWithoutAFormat) {
  EXPECT_EQ(SplitPieces({ReasoningFormat::kNone, true}, {"<think>a</think>b"}),
            (Split{"", "<think>a</think>b"}));
}

TEST(ReasoningParser, SplitsAtTheClosingTag) {
  EXPECT_EQ(SplitPieces(kInside, {"17 + 25 is 42.\n</think>\n\n42"}),
            (Split{"17 + 25 is 42.\n", "\n\n42"}));
}

TEST(ReasoningParser, DropsAnExplicitOpeningTag) {
  EXPECT_EQ(SplitPieces(kInside, {"\n<think>\nhm</think>yes"}), (Split{"\nhm", "yes"}));
  EXPECT_EQ(SplitPieces(kOutside, {"<think>hm</think>yes"}), (Split{"hm", "yes"}));
}

TEST(ReasoningParser, TakesAnUnclosedOutputAsReasoning) {
  EXPECT_EQ(SplitPieces(kInside, {"still thinking </thi"}), (Split{"still thinking </thi", ""}));
}

TEST(ReasoningParser, StaysInTheContentWithoutATagWhenStartedOutside) {
  EXPECT_EQ(SplitPieces(kOutside, {" plain </think> text"}), (Split{"", " plain </think> text"}));
}

TEST(ReasoningParser, TakesLaterTagsAsText) {
  EXPECT_EQ(SplitPieces(kInside, {"a<think>b</think>c<think>d</think>"}),
            (Split{"a<think>b", "c<think>d</think>"}));
}

TEST(ReasoningParser, HoldsBackOnlyATagThatHasBegun) {
  ReasoningParser parser(kInside);
  EXPECT_EQ(parser.Push("ab</th").reasoning, "ab");
  EXPECT_EQ(parser.Push("i").reasoning, "");
  EXPECT_EQ(parser.Push("x").reasoning, "</thix");
  EXPECT_TRUE(parser.in_reasoning());
  EXPECT_EQ(parser.Push("</think>c").content, "c");
  EXPECT_FALSE(parser.in_reasoning());
}

TEST(ReasoningParser, GivesTheSameHoweverTheOutputIsCut) {
  const std::vector<std::string> outputs = {"<think>\na < b</think>done",
                                            "  \n<thinking></thi</think></think>",
                                            "思考</think>答案🙂",
                                            "",
                                            " ",
                                            "</think>",
                                            "<think></think>",
                                            "<thin",
                                            "a</think"};
  for (const Options& options : {kInside, kOutside}) {
    for (const std::string& output : outputs) {
      const Split whole = SplitPieces(options, {output});
      for (size_t first = 0; first <= output.size(); ++first) {
        for (size_t second = first; second <= output.size(); ++second) {
          ASSERT_EQ(
              SplitPieces(options, {output.substr(0, first), output.substr(first, second - first),
                                    output.substr(second)}),
              whole)
              << output << " cut at " << first << ", " << second;
        }
      }
    }
  }
}

TEST(ReasoningParser, SeesWhetherAPromptOpensTheReasoning) {
  EXPECT_TRUE(PromptOpensReasoning("<｜User｜>hi<｜Assistant｜><think>\n"));
  EXPECT_FALSE(PromptOpensReasoning("<｜User｜>hi<｜Assistant｜></think>"));
  EXPECT_FALSE(PromptOpensReasoning("<think>a</think>"));
  EXPECT_FALSE(PromptOpensReasoning("hi"));
}

TEST(ReasoningParser, KnowsTheFormatsByName) {
  EXPECT_EQ(*ParseReasoningFormat("deepseek_r1"), ReasoningFormat::kDeepSeekR1);
  EXPECT_EQ(*ParseReasoningFormat(""), ReasoningFormat::kNone);
  EXPECT_EQ(*ParseReasoningFormat("none"), ReasoningFormat::kNone);
  const auto unknown = ParseReasoningFormat("qwen9");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.status().message().find("qwen9"), std::string::npos);
}

}  // namespace
}  // namespace baton::gateway
