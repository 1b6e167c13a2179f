#include "services/gateway/text/stop_strings.h"

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

struct Outcome {
  std::string text;
  std::string stop;

  bool operator==(const Outcome&) const = default;
};

StopStringMatcher MatcherOf(const std::vector<std::string>& stops) {
  return StopStringMatcher(
      std::make_shared<const StopAutomaton>(StopAutomaton::Options{.stops = stops}));
}

Outcome Feed(const StopAutomaton::Options& options, const std::vector<std::string>& pieces) {
  StopStringMatcher matcher(std::make_shared<const StopAutomaton>(options));
  Outcome outcome;
  for (const std::string& piece : pieces) outcome.text += matcher.Push(piece);
  if (!matcher.stopped()) outcome.text += matcher.Flush();
  outcome.stop = std::string(matcher.matched_stop());
  return outcome;
}

// Read byte by byte: the stop that ends first; of those that end together the longest.
Outcome FeedPlainly(const StopAutomaton::Options& options, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::string found;
    for (const std::string& stop : options.stops) {
      const bool ends_here =
          stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0;
      if (ends_here && stop.size() > found.size()) found = stop;
    }
    if (found.empty()) continue;
    return {text.substr(0, options.include_stop ? end : end - found.size()), found};
  }
  return {text, ""};
}

std::vector<std::string> Cut(const std::string& text, size_t max_piece, std::mt19937& random) {
  std::vector<std::string> pieces;
  for (size_t begin = 0; begin < text.size();) {
    const size_t length = 1 + random() % max_piece;
    pieces.push_back(text.substr(begin, length));
    begin += length;
  }
  return pieces;
}

TEST(StopStringMatcher, PassesTextWithoutStops) {
  StopStringMatcher matcher(nullptr);
  EXPECT_EQ(matcher.Push("hello"), "hello");
  EXPECT_EQ(matcher.Flush(), "");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopStringMatcher, IgnoresAnEmptyStop) {
  StopStringMatcher matcher = MatcherOf({""});
  EXPECT_EQ(matcher.Push("hello"), "hello");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopStringMatcher, HoldsBackOnlyWhatMayBecomeAStop) {
  StopStringMatcher matcher = MatcherOf({"END"});
  EXPECT_EQ(matcher.Push("the EN"), "the ");
  EXPECT_EQ(matcher.Push("ergy"), "ENergy");
  EXPECT_EQ(matcher.Push("E"), "");
  EXPECT_EQ(matcher.Flush(), "E");
}

TEST(StopStringMatcher, StopsAcrossPieces) {
  StopStringMatcher matcher = MatcherOf({"\n\nUser:"});
  EXPECT_EQ(matcher.Push("42\n"), "42");
  EXPECT_EQ(matcher.Push("\nUs"), "");
  EXPECT_EQ(matcher.Push("er: more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.matched_stop(), "\n\nUser:");
  EXPECT_EQ(matcher.Push("more"), "");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopStringMatcher, IncludesTheStopOnRequest) {
  EXPECT_EQ(Feed({{"STOP"}, true}, {"one ST", "OP two"}), (Outcome{"one STOP", "STOP"}));
}

TEST(StopStringMatcher, TakesTheStopThatEndsFirst) {
  EXPECT_EQ(Feed({{"abcd", "bc"}}, {"xabcd"}), (Outcome{"xa", "bc"}));
}

TEST(StopStringMatcher, TakesTheLongestOfThoseThatEndTogether) {
  EXPECT_EQ(Feed({{"c", "abc"}}, {"xabc"}), (Outcome{"x", "abc"}));
}

TEST(StopStringMatcher, FindsAStopThatOverlapsItsOwnBeginning) {
  EXPECT_EQ(Feed({{"aab"}}, {"aa", "aa", "ab!"}), (Outcome{"aaa", "aab"}));
}

TEST(StopStringMatcher, NeverCutsACharacter) {
  StopStringMatcher matcher = MatcherOf({"é!"});  // é and è share their first byte
  EXPECT_EQ(matcher.Push("è"), "è");
  EXPECT_EQ(matcher.Push("é"), "");
  EXPECT_EQ(matcher.Push("è"), "éè");
}

TEST(StopStringMatcher, AStopThatMayNotCountIsText) {
  StopStringMatcher matcher = MatcherOf({"END"});
  EXPECT_EQ(matcher.Push("an END", /*may_stop=*/false), "an ");
  EXPECT_EQ(matcher.Push("ING ", /*may_stop=*/false), "ENDING ");
  EXPECT_EQ(matcher.Push("E", /*may_stop=*/false), "");
  EXPECT_EQ(matcher.Push("ND."), "");
  EXPECT_EQ(matcher.matched_stop(), "END") << "it was complete only when it counted";
}

TEST(StopStringMatcher, SequencesOfARequestShareTheAutomaton) {
  const auto automaton =
      std::make_shared<const StopAutomaton>(StopAutomaton::Options{.stops = {"ab", "b!"}});
  StopStringMatcher first(automaton);
  StopStringMatcher second(automaton);
  EXPECT_EQ(first.Push("xa"), "x");
  EXPECT_EQ(second.Push("b"), "");
  EXPECT_EQ(first.Push("b"), "");
  EXPECT_EQ(second.Push("c"), "bc");
  EXPECT_EQ(first.matched_stop(), "ab");
  EXPECT_FALSE(second.stopped());
}

TEST(StopStringMatcher, EqualsAPlainSearchHoweverTheTextIsCut) {
  std::mt19937 random(7);
  const auto random_text = [&](size_t max_length) {
    std::string text(1 + random() % max_length, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 3);
    return text;
  };
  for (int round = 0; round < 3000; ++round) {
    StopAutomaton::Options options;
    options.include_stop = round % 2 == 0;
    const size_t num_stops = 1 + random() % 4;
    for (size_t i = 0; i < num_stops; ++i) options.stops.push_back(random_text(6));
    const std::string text = random_text(40);
    const Outcome expected = FeedPlainly(options, text);
    ASSERT_EQ(Feed(options, Cut(text, 5, random)), expected) << "round " << round;
    ASSERT_EQ(Feed(options, {text}), expected) << "round " << round;
  }
}

}  // namespace
}  // namespace baton::gateway
