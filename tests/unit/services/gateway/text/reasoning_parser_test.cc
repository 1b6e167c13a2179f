#include "services/gateway/text/reasoning_parser.h"

#include <algorithm>
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

// What a model's tokens stand for; tags of which `is_tag` is true are tokens.
struct Token {
  std::string text;
  bool is_tag = false;
};

Split SplitTokens(const Options& options, const std::vector<Token>& tokens, size_t held) {
  ReasoningParser parser(options);
  Split split;
  const auto add = [&split](const ReasoningDelta& delta) {
    split.reasoning += delta.reasoning;
    split.content += delta.content;
  };
  std::string output;
  size_t num_pushed = 0;
  for (const Token& token : tokens) {
    if (token.is_tag) {
      const bool opens = token.text != "</think>" && token.text != "/";
      parser.NoteTag(opens ? ReasoningTag::kOpen : ReasoningTag::kClose, output.size(),
                     output.size() + (token.text.size() > 1 ? token.text.size() : 0));
    }
    if (!token.is_tag || token.text.size() > 1) output += token.text;
    const size_t certain = output.size() - std::min(held, output.size());
    if (certain > num_pushed) add(parser.Push(output.substr(num_pushed, certain - num_pushed)));
    num_pushed = std::max(num_pushed, certain);
  }
  add(parser.Push(output.substr(num_pushed)));
  add(parser.Flush());
  return split;
}

Split SplitTokens(bool starts_inside, const std::vector<Token>& tokens, size_t held = 0) {
  return SplitTokens({.format = ReasoningFormat::kDeepSeekR1,
                      .starts_inside = starts_inside,
                      .open_is_token = true,
                      .close_is_token = true},
                     tokens, held);
}

TEST(ReasoningParser, TagsThatAreTokensAreNotSpelled) {
  const Token open{"<think>", true};
  const Token close{"</think>", true};
  // With text held back by what comes before, as stop strings do.
  for (const size_t held : {0, 1, 3, 8, 9, 20}) {
    EXPECT_EQ(SplitTokens(true, {{"a</think>b"}, close, {"c"}}, held), (Split{"a</think>b", "c"}));
    EXPECT_EQ(SplitTokens(true, {{"a</"}, {"think>b"}}, held), (Split{"a</think>b", ""}));
    EXPECT_EQ(SplitTokens(true, {{"\n"}, open, {"a"}, close, close, {"b"}}, held),
              (Split{"a", "</think>b"}));
    EXPECT_EQ(SplitTokens(true, {close, open, {"a"}}, held), (Split{"", "<think>a"}));
    EXPECT_EQ(SplitTokens(true, {{"<think>a"}, close, {"b"}}, held), (Split{"<think>a", "b"}));
    EXPECT_EQ(SplitTokens(false, {{" "}, open, {"a"}, close, {"b"}}, held), (Split{"a", "b"}));
    EXPECT_EQ(SplitTokens(false, {{"<think>a"}, close, {"b"}}, held),
              (Split{"", "<think>a</think>b"}));
    EXPECT_EQ(SplitTokens(false, {{"a"}, open, {"b"}, close}, held),
              (Split{"", "a<think>b</think>"}));
  }
}

TEST(ReasoningParser, TagsThatAreTokensMayHaveNoText) {
  const Token open{"+", true};
  const Token close{"/", true};
  for (const size_t held : {0, 1, 2, 5}) {
    EXPECT_EQ(SplitTokens(true, {{"a"}, close, {"b"}}, held), (Split{"a", "b"}));
    EXPECT_EQ(SplitTokens(true, {open, {"a"}, close, {"b"}}, held), (Split{"a", "b"}));
    EXPECT_EQ(SplitTokens(false, {{" "}, open, {" a"}, close, {"b"}}, held), (Split{" a", "b"}));
    EXPECT_EQ(SplitTokens(false, {close, {"b"}}, held), (Split{"", "b"}));
  }
}

TEST(ReasoningParser, ASpelledOpeningEndsAtTheTokenThatCloses) {
  const Token close{"</think>", true};
  const Token untold{"/", true};
  const auto split = [](const std::vector<Token>& tokens, size_t held) {
    return SplitTokens({.format = ReasoningFormat::kDeepSeekR1,
                        .starts_inside = false,
                        .open_is_token = false,
                        .close_is_token = true},
                       tokens, held);
  };
  for (const size_t held : {0, 1, 3, 8, 20}) {
    EXPECT_EQ(split({{"\n<th"}, {"ink>a"}, close, {"b"}}, held), (Split{"a", "b"}));
    EXPECT_EQ(split({{"<think>"}, untold, {"b"}}, held), (Split{"", "b"}));
    EXPECT_EQ(split({{"<think>a</think>b"}, close, {"c"}}, held), (Split{"a</think>b", "c"}));
    EXPECT_EQ(split({untold, {"<think>a"}, close, {"b"}}, held), (Split{"a", "b"}));
    EXPECT_EQ(split({{"a"}, close, {"<think>b"}, close}, held),
              (Split{"", "a</think><think>b</think>"}));
  }
}

TEST(ReasoningParser, HoldsBackNothingWhereItsEndIsAToken) {
  ReasoningParser parser({.format = ReasoningFormat::kDeepSeekR1, .close_is_token = true});
  EXPECT_EQ(parser.Push("ab</think").reasoning, "ab</think");
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
