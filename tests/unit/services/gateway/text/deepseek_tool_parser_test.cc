#include "services/gateway/text/deepseek_tool_parser.h"

#include <random>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

#include "services/gateway/text/answer_order.h"

namespace baton::gateway {
namespace {

struct FoundCall {
  std::string name;
  std::string arguments;

  bool operator==(const FoundCall&) const = default;
};

struct FoundCalls {
  std::string content;
  std::vector<FoundCall> calls;
  std::string order = {};  // a 't' for each run of text, a 'c' for each call

  bool operator==(const FoundCalls&) const = default;
};

std::ostream& operator<<(std::ostream& out, const FoundCalls& found) {
  out << "content \"" << found.content << "\"";
  for (const FoundCall& call : found.calls) out << " " << call.name << "(" << call.arguments << ")";
  return out;
}

FoundCalls FindCalls(ToolCallFormat format, const std::vector<std::string>& pieces) {
  const auto parser = MakeToolCallParser(format);
  FoundCalls found;
  const auto take = [&found](const ToolDelta& delta) {
    found.content += delta.content;
    ForEachInOrder(
        delta.content, delta.calls,
        [&found](absl::string_view) {
          if (!found.order.ends_with('t')) found.order += 't';
        },
        [&found](const ToolCallPiece& piece) {
          if (piece.begins) found.order += 'c';
          EXPECT_TRUE(found.order.ends_with('c')) << "text stands inside the call";
        });
    for (const ToolCallPiece& piece : delta.calls) {
      if (piece.begins) {
        EXPECT_EQ(piece.index, found.calls.size());
        found.calls.push_back({piece.name, ""});
      }
      ASSERT_EQ(piece.index + 1, found.calls.size());
      found.calls.back().arguments += piece.arguments;
    }
  };
  for (const std::string& piece : pieces) {
    ToolDelta delta;
    parser->Push(piece, &delta);
    take(delta);
  }
  ToolDelta delta;
  parser->Flush(&delta);
  take(delta);
  return found;
}

FoundCalls FindV3(const std::string& text) {
  return FindCalls(ToolCallFormat::kDeepSeekV3, {text});
}

std::string Call(const std::string& name, const std::string& arguments) {
  return "<｜tool▁call▁begin｜>function<｜tool▁sep｜>" + name + "\n```json\n" + arguments +
         "\n```<｜tool▁call▁end｜>";
}

std::string Calls(const std::string& calls) {
  return "<｜tool▁calls▁begin｜>" + calls + "<｜tool▁calls▁end｜>";
}

TEST(DeepSeekToolParser, FindsTheCallsOfR1) {
  EXPECT_EQ(
      FindV3("Let me look.\n\n" +
             Calls(Call("weather", R"({"city": "Köln"})") + "\n" + Call("time", "{}"))),
      (FoundCalls{"Let me look.", {{"weather", R"({"city": "Köln"})"}, {"time", "{}"}}, "tcc"}));
}

TEST(DeepSeekToolParser, FindsTheCallsOfV31) {
  EXPECT_EQ(FindCalls(ToolCallFormat::kDeepSeekV31,
                      {Calls("<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"a\": 1}"
                             "<｜tool▁call▁end｜><｜tool▁call▁begin｜>time<｜tool▁sep｜>"
                             "<｜tool▁call▁end｜>") +
                       "\nafter"}),
            (FoundCalls{"after", {{"weather", "{\"a\": 1}"}, {"time", "{}"}}, "cct"}));
}

TEST(DeepSeekToolParser, KeepsMarkdownInArguments) {
  const std::string arguments = R"({"text": "```py\nx\n```"})";
  EXPECT_EQ(FindV3(Calls(Call("write", arguments))), (FoundCalls{"", {{"write", arguments}}, "c"}));
}

TEST(DeepSeekToolParser, NeedsNoTagAroundAllCallsAndNoFence) {
  EXPECT_EQ(FindV3(Call("a", "{}")), (FoundCalls{"", {{"a", "{}"}}, "c"}));
  EXPECT_EQ(FindV3("<｜tool▁call▁begin｜>function<｜tool▁sep｜>a\n{\"x\":1}<｜tool▁call▁end｜>"),
            (FoundCalls{"", {{"a", "{\"x\":1}"}}, "c"}));
  EXPECT_EQ(FindV3("<｜tool▁call▁begin｜>function<｜tool▁sep｜>a<｜tool▁call▁end｜>"),
            (FoundCalls{"", {{"a", "{}"}}, "c"}));
}

TEST(DeepSeekToolParser, TakesWhatIsNoCallForText) {
  for (const std::string text :
       {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁begin｜>nothing",
        "<｜tool▁calls▁begin｜><｜tool▁calls▁end｜>", "a <｜tool▁call▁begin｜>function",
        "<｜tool▁call▁begin｜>no separator<｜tool▁call▁end｜>",
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>two words\n{}<｜tool▁call▁end｜>",
        "a < b <｜tool", "  ", "plain\n"}) {
    const FoundCalls found = FindV3(text);
    EXPECT_TRUE(found.calls.empty()) << text;
    std::string expected = text;
    if (expected.starts_with("a <｜tool▁call▁begin｜>")) expected.erase(1, 1);
    EXPECT_EQ(found.content, expected);
  }
}

TEST(DeepSeekToolParser, ACallThatIsCutShortKeepsWhatItHas) {
  EXPECT_EQ(FindV3("<｜tool▁call▁begin｜>function<｜tool▁sep｜>a\n```json\n{\"x\": \"yes"),
            (FoundCalls{"", {{"a", "{\"x\": \"yes"}}, "c"}));
}

TEST(DeepSeekToolParser, AHeaderWithoutEndIsText) {
  const std::string text = "<｜tool▁call▁begin｜>" + std::string(5000, 'x');
  const auto parser = MakeToolCallParser(ToolCallFormat::kDeepSeekV3);
  ToolDelta delta;
  parser->Push(text, &delta);
  EXPECT_EQ(delta.content, text);
}

TEST(DeepSeekToolParser, NameComesFirstAndArgumentsAsTheyAreWritten) {
  const auto parser = MakeToolCallParser(ToolCallFormat::kDeepSeekV3);
  ToolDelta name;
  parser->Push("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n",
               &name);
  ASSERT_EQ(name.calls.size(), 1u);
  EXPECT_EQ(name.calls[0], (ToolCallPiece{.index = 0, .begins = true, .name = "f"}));
  ToolDelta arguments;
  parser->Push("{\"x\": 12", &arguments);
  ASSERT_EQ(arguments.calls.size(), 1u);
  EXPECT_EQ(arguments.calls[0], (ToolCallPiece{.index = 0, .arguments = "{\"x\": 12"}));
}

// Texts made of the syntax's own parts in any order, cut anywhere.
TEST(DeepSeekToolParser, GivesTheSameHoweverTheAnswerIsCut) {
  const std::vector<std::string> parts = {"<｜tool▁calls▁begin｜>",
                                          "<｜tool▁calls▁end｜>",
                                          "<｜tool▁call▁begin｜>",
                                          "<｜tool▁call▁end｜>",
                                          "<｜tool▁sep｜>",
                                          "function",
                                          "name",
                                          "\n",
                                          "```json\n",
                                          "\n```",
                                          "`",
                                          "{\"a\":1}",
                                          "<",
                                          "<｜tool▁",
                                          " ",
                                          "字",
                                          std::string(70, ' '),
                                          std::string(600, 'x')};
  std::mt19937 random(17);
  const auto below = [&random](size_t bound) {
    return std::uniform_int_distribution<size_t>(0, bound - 1)(random);
  };
  for (const ToolCallFormat format : {ToolCallFormat::kDeepSeekV3, ToolCallFormat::kDeepSeekV31}) {
    for (int round = 0; round < 3000; ++round) {
      std::string text;
      const size_t num_parts = 1 + below(14);
      if (below(2) == 0) text = "<｜tool▁calls▁begin｜>" + Call("f", "{\"b\": 2}");
      for (size_t i = 0; i < num_parts; ++i) text += parts[below(parts.size())];
      const FoundCalls whole = FindCalls(format, {text});
      std::vector<std::string> bytes;
      for (const char c : text) bytes.emplace_back(1, c);
      ASSERT_EQ(FindCalls(format, bytes), whole) << text;
      const size_t first = below(text.size() + 1);
      const size_t second = first + below(text.size() - first + 1);
      ASSERT_EQ(FindCalls(format, {text.substr(0, first), text.substr(first, second - first),
                                   text.substr(second)}),
                whole)
          << text << "\ncut at " << first << ", " << second;
    }
  }
}

TEST(ToolCallParser, KnowsTheFormatsByName) {
  EXPECT_EQ(*ParseToolCallFormat("deepseek_v3"), ToolCallFormat::kDeepSeekV3);
  EXPECT_EQ(*ParseToolCallFormat("none"), ToolCallFormat::kNone);
  EXPECT_EQ(MakeToolCallParser(ToolCallFormat::kNone), nullptr);
  const auto unknown = ParseToolCallFormat("hermes9");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.status().message().find("hermes9"), std::string::npos);
}

}  // namespace
}  // namespace baton::gateway
