#include "common/structured_output/regex_parser.h"

#include <random>
#include <regex>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/unit/common/structured_output/text_matching.h"

namespace baton::structured {
namespace {

using ::testing::HasSubstr;

TEST(RegexParser, MatchesTheWholeText) {
  EXPECT_TRUE(MatchesRegex("ab*", "abbb"));
  EXPECT_FALSE(MatchesRegex("ab*", "abbbc"));
  EXPECT_FALSE(MatchesRegex("ab*", "xab"));
  EXPECT_TRUE(MatchesRegex("^ab*$", "a"));
  EXPECT_TRUE(MatchesRegex("(^a$)|b", "a"));
}

TEST(RegexParser, ReadsClassesAndEscapes) {
  EXPECT_TRUE(MatchesRegex(R"(\d{3}-\w+\s[^a-z]\.)", "123-x_9\tQ."));
  EXPECT_FALSE(MatchesRegex(R"(\d{3})", "12"));
  EXPECT_TRUE(MatchesRegex(R"([]\-x])", "]"));
  EXPECT_TRUE(MatchesRegex(R"([a-])", "-"));
  EXPECT_TRUE(MatchesRegex(R"(\x41\u0042\n)", "AB\n"));
  EXPECT_TRUE(MatchesRegex(R"({"a": \d})", R"({"a": 7})"));  // a brace that is no quantifier
  EXPECT_TRUE(MatchesRegex("x{2,}", "xxx"));
  EXPECT_TRUE(MatchesRegex("x{,2}", ""));
  EXPECT_FALSE(MatchesRegex("x{,2}", "xxx"));
}

TEST(RegexParser, KnowsCharactersNotBytes) {
  EXPECT_TRUE(MatchesRegex(".{2}", "深度"));
  EXPECT_TRUE(MatchesRegex("[α-ω]+", "λογος"));
  EXPECT_FALSE(MatchesRegex("[α-ω]+", "Λ"));
  EXPECT_TRUE(MatchesRegex("[^a]", "\xF0\x9F\x98\x80"));
  EXPECT_TRUE(MatchesRegex(R"(\uD83D\uDE00)", "\xF0\x9F\x98\x80"));
  EXPECT_FALSE(MatchesRegex(".", "\xED\xA0\x80"));  // a surrogate
  EXPECT_FALSE(MatchesRegex(".", "\xC0\x80"));      // overlong
  EXPECT_FALSE(MatchesRegex(".", "\n"));
}

TEST(RegexParser, TakesNamedAndLazyForms) {
  EXPECT_TRUE(MatchesRegex("(?P<year>\\d+?)(?:-)(?<month>\\d)", "2024-1"));
}

TEST(RegexParser, RefusesWhatNoAutomatonCanDo) {
  const auto refusal = [](absl::string_view pattern) {
    return Refusal(ConstraintKind::kRegex, pattern);
  };
  EXPECT_THAT(refusal("a(?=b)"), HasSubstr("look-around"));
  EXPECT_THAT(refusal("(?<!a)b"), HasSubstr("look-around"));
  EXPECT_THAT(refusal(R"((a)\1)"), HasSubstr("\\1 is not supported"));
  EXPECT_THAT(refusal(R"(a\b)"), HasSubstr("\\b is not supported"));
  EXPECT_THAT(refusal("a++"), HasSubstr("behind a quantifier"));
  EXPECT_THAT(refusal("a$b"), HasSubstr("at the end only"));
  EXPECT_THAT(refusal("(a"), HasSubstr("without its )"));
  EXPECT_THAT(refusal("a)"), HasSubstr("unbalanced"));
  EXPECT_THAT(refusal("[a"), HasSubstr("without its ]"));
  EXPECT_THAT(refusal("*"), HasSubstr("without anything"));
  EXPECT_THAT(refusal("x{3,2}"), HasSubstr("no range"));
  EXPECT_THAT(refusal("\xFF"), HasSubstr("UTF-8"));
}

TEST(RegexParser, HasBudgets) {
  EXPECT_THAT(Refusal(ConstraintKind::kRegex, "(((a{1000}){1000}){1000})"), HasSubstr("too large"));
  EXPECT_THAT(Refusal(ConstraintKind::kRegex, std::string(1000, '(')), HasSubstr("deeper"));
  EXPECT_THAT(Refusal(ConstraintKind::kRegex, std::string(2049, 'a')), HasSubstr("at most 2048"));
  EXPECT_THAT(Refusal(ConstraintKind::kRegex, "(a?){30000}"), HasSubstr("too large"));
}

// Deterministic automata of these have 2^20 states and more.
TEST(RegexParser, IsNotAfraidOfExponentialAutomata) {
  EXPECT_TRUE(MatchesRegex("(a|b)*a(a|b){20}", std::string(50, 'b') + "a" + std::string(20, 'b')));
  EXPECT_FALSE(MatchesRegex("(a|b)*a(a|b){20}", std::string(80, 'b')));
  EXPECT_TRUE(MatchesRegex("(a*)*(b|a*)*(a+)+", std::string(2000, 'a')));
}

// Random patterns and texts of three letters, against the standard library.
class RandomPattern {
 public:
  explicit RandomPattern(uint32_t seed) : random_(seed) {}

  std::string Make(int depth) {
    switch (depth == 0 ? Below(3) : Below(9)) {
      case 0:
        return std::string(1, static_cast<char>('a' + Below(3)));
      case 1:
        return Below(2) == 0 ? "[ab]" : "[^a]";
      case 2:
        return ".";
      case 3:
      case 4:
        return Make(depth - 1) + Make(depth - 1);
      case 5:
        return "(" + Make(depth - 1) + "|" + Make(depth - 1) + ")";
      case 6:
        return "(" + Make(depth - 1) + ")" + (Below(2) == 0 ? "*" : "?");
      case 7:
        return "(?:" + Make(depth - 1) + ")+";
      default:
        return "(" + Make(depth - 1) + "){1," + std::to_string(1 + Below(3)) + "}";
    }
  }

  std::string Text() {
    std::string text;
    for (uint32_t i = Below(8); i > 0; --i) text += static_cast<char>('a' + Below(3));
    return text;
  }

 private:
  uint32_t Below(uint32_t bound) { return random_() % bound; }
  std::mt19937 random_;
};

TEST(RegexParser, AgreesWithTheStandardLibrary) {
  RandomPattern random(1);
  int num_matches = 0;
  for (int i = 0; i < 1500; ++i) {
    const std::string pattern = random.Make(3);
    const std::regex oracle(pattern);
    const auto automaton = CompileConstraint({.kind = ConstraintKind::kRegex, .text = pattern});
    ASSERT_TRUE(automaton.ok()) << pattern << automaton.status();
    for (int j = 0; j < 20; ++j) {
      const std::string text = random.Text();
      const bool expected = std::regex_match(text, oracle);
      ASSERT_EQ(Matches(*automaton, text), expected) << pattern << " on " << text;
      num_matches += expected ? 1 : 0;
    }
  }
  EXPECT_GT(num_matches, 1000);
}

// The same patterns inside a JSON string, looked for anywhere in it.
TEST(RegexParser, SearchesLikeTheStandardLibrary) {
  RandomPattern random(2);
  for (int i = 0; i < 1000; ++i) {
    std::string pattern = random.Make(2);
    if (i % 3 == 0) pattern = "^" + pattern;
    if (i % 5 == 0) pattern += "$";
    CompileBudget budget{CompileLimits{}};
    Grammar grammar(&budget);
    grammar.root = grammar.AddRule("root");
    const auto body =
        ParseRegex(pattern, {.spelling = TextSpelling::kJsonString, .search = true}, &grammar);
    ASSERT_TRUE(body.ok()) << pattern << body.status();
    grammar.SetBody(grammar.root, *body);
    const auto automaton = CompileGrammar(grammar);
    ASSERT_TRUE(automaton.ok()) << pattern << automaton.status();
    for (int j = 0; j < 20; ++j) {
      const std::string text = random.Text();
      ASSERT_EQ(Matches(*automaton, text), std::regex_search(text, std::regex(pattern)))
          << pattern << " on " << text;
    }
  }
}

}  // namespace
}  // namespace baton::structured
