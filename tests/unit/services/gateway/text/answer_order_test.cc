#include "services/gateway/text/answer_order.h"

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

using testing::ElementsAre;

// Content with the pieces of calls at their places.
struct Part {
  std::string content;
  std::vector<ToolCallPiece> calls;

  void Append(const Part& later) { AppendInOrder(later.content, later.calls, &content, &calls); }
  std::vector<std::string> InOrder() const {
    std::vector<std::string> all;
    ForEachInOrder(
        content, calls, [&all](absl::string_view text) { all.emplace_back(text); },
        [&all](const ToolCallPiece& piece) {
          all.push_back((piece.begins ? piece.name : "...") + "(" + piece.arguments + ")");
        });
    return all;
  }
};

Part Text(const std::string& text) { return {.content = text}; }
Part Begin(uint32_t index, const std::string& arguments) {
  return {.calls = {{.index = index, .begins = true, .name = "f", .arguments = arguments}}};
}
Part Rest(uint32_t index, const std::string& arguments) {
  return {.calls = {{.index = index, .arguments = arguments}}};
}

TEST(AnswerOrder, TextBehindACallStaysBehindIt) {
  Part all = Rest(0, "1}");
  all.Append(Text("Do"));
  all.Append(Text("ne."));
  EXPECT_THAT(all.InOrder(), ElementsAre("...(1})", "Done."));
}

TEST(AnswerOrder, PiecesOfACallAreJoinedButNotCalls) {
  Part all = Text("Look.");
  for (const Part& part : {Begin(0, "{"), Rest(0, "}"), Begin(1, ""), Rest(1, "[]"), Text("!")}) {
    all.Append(part);
  }
  EXPECT_THAT(all.InOrder(), ElementsAre("Look.", "f({})", "f([])", "!"));
}

TEST(AnswerOrder, PartsOfPartsKeepTheirPlaces) {
  Part first = Text("a"), second = Text("b");
  first.Append(Begin(0, "{"));
  second.calls = {{.index = 0, .arguments = "}"}};  // before its text
  second.Append(Begin(1, "{}"));
  second.Append(Text("c"));
  first.Append(second);
  EXPECT_THAT(first.InOrder(), ElementsAre("a", "f({})", "b", "f({})", "c"));
}

TEST(AnswerOrder, IsTheSameHoweverPartsAreGrouped) {
  std::mt19937 random(5);
  const auto below = [&random](size_t bound) {
    return std::uniform_int_distribution<size_t>(0, bound - 1)(random);
  };
  for (int round = 0; round < 500; ++round) {
    std::vector<Part> parts;
    for (uint32_t index = 0; index < 4; ++index) {
      for (size_t i = below(3); i > 0; --i) parts.push_back(Text("t"));
      parts.push_back(Begin(index, "{"));
      for (size_t i = below(3); i > 0; --i) parts.push_back(Rest(index, "x"));
    }
    if (below(2) == 0) parts.push_back(Text("end"));
    Part one_by_one, grouped, group;
    for (const Part& part : parts) {
      one_by_one.Append(part);
      group.Append(part);
      if (below(3) == 0) grouped.Append(std::exchange(group, {}));
    }
    grouped.Append(group);
    ASSERT_EQ(grouped.InOrder(), one_by_one.InOrder());
  }
}

}  // namespace
}  // namespace baton::gateway
