#include "common/structured_output/ebnf_parser.h"

#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/unit/common/structured_output/text_matching.h"

namespace baton::structured {
namespace {

using ::testing::HasSubstr;

constexpr absl::string_view kNested = R"(
# lists of lists
root ::= list
list ::= "[" (item ("," item)*)? "]"
item ::= list | number
number ::= [0-9]{1,3}
)";

TEST(EbnfParser, MatchesNestedRules) {
  EXPECT_TRUE(MatchesGrammar(kNested, "[1,[22,[]],[333]]"));
  EXPECT_FALSE(MatchesGrammar(kNested, "[1,[22,[]],[333]"));
  EXPECT_FALSE(MatchesGrammar(kNested, "[1,]"));
  EXPECT_FALSE(MatchesGrammar(kNested, "[4444]"));
}

TEST(EbnfParser, ReadsEscapesAndQuantifiers) {
  EXPECT_TRUE(MatchesGrammar(R"(root ::= "a\n\"\x41\u00e9" . [^"\\]+ b? b ::= "!"{2})",
                             "a\n\"A\u00e9\u4e2dxyz!!"));
  EXPECT_TRUE(MatchesGrammar("root ::= \"a\"\n  | \"b\"\n", "b"));
  EXPECT_TRUE(MatchesGrammar("root ::= \"\" | x-1.y\nx-1.y ::= \"z\"", ""));
}

TEST(EbnfParser, RecursesDeeplyOnTheRight) {
  EXPECT_TRUE(MatchesGrammar(R"(root ::= "a" root | "b")", std::string(10'000, 'a') + "b"));
}

TEST(EbnfParser, NestsToABound) {
  const std::string open(500, '['), close(500, ']');
  EXPECT_TRUE(MatchesGrammar(kNested, open + close));
  EXPECT_FALSE(MatchesGrammar(kNested, open + open + close + close));
}

TEST(EbnfParser, HoldsSchemas) {
  constexpr absl::string_view kCall =
      R"g(root ::= "f(" %json {"type": "object", "properties": {"b}": {"type": "boolean"}},
                              "required": ["b}"]} ")")g";
  EXPECT_TRUE(MatchesGrammar(kCall, "f({\"b}\": true})"));
  EXPECT_FALSE(MatchesGrammar(kCall, "f({})"));
  EXPECT_FALSE(MatchesGrammar(kCall, "f({\"b}\": true}"));
}

TEST(EbnfParser, RefusesWrongTokensAndSchemas) {
  const auto refusal = [](absl::string_view text) {
    return Refusal(ConstraintKind::kGrammar, std::string(text));
  };
  EXPECT_THAT(refusal("root ::= <[x]>"), HasSubstr("<[id]>"));
  EXPECT_THAT(refusal("root ::= <[99999999999]>"), HasSubstr("<[id]>"));
  EXPECT_THAT(refusal("root ::= <[1]> <[2]> <[3]> <[4]> <[5]> <[6]> <[7]> <[8]> <[9]>"),
              HasSubstr("more than 8"));
  EXPECT_THAT(refusal("root ::= %json [1]"), HasSubstr("%json"));
  EXPECT_THAT(refusal(R"(root ::= %json {"a": "}")"), HasSubstr("%json"));
  EXPECT_THAT(refusal(R"(root ::= %json {"not": {}})"), HasSubstr("not"));
}

// Also where the grammar could do without: whoever writes a schema means to have its instances.
TEST(EbnfParser, RefusesSchemasThatMatchNothing) {
  EXPECT_THAT(Refusal(ConstraintKind::kGrammar, R"(root ::= "a" | %json {"enum": []})"),
              HasSubstr("grammar at byte 21: the JSON schema matches no text at all"));
  EXPECT_TRUE(MatchesGrammar(R"(root ::= %json {"properties": {"b": false}})", "{}"));
}

TEST(EbnfParser, RefusesLeftRecursionByName) {
  EXPECT_THAT(Refusal(ConstraintKind::kGrammar, R"(root ::= sum sum ::= sum "+" "1" | "1")"),
              HasSubstr("sum -> sum"));
  EXPECT_THAT(
      Refusal(ConstraintKind::kGrammar, R"(root ::= a a ::= e b b ::= a "x" | "y" e ::= "z"?)"),
      HasSubstr("left recursion"));
}

TEST(EbnfParser, SaysWhatIsWrong) {
  const auto refusal = [](absl::string_view text) {
    return Refusal(ConstraintKind::kGrammar, text);
  };
  EXPECT_THAT(refusal("root ::= x"), HasSubstr("\"x\" is used but not defined"));
  EXPECT_THAT(refusal("a ::= \"b\""), HasSubstr("no rule \"root\""));
  EXPECT_THAT(refusal("root ::= \"a"), HasSubstr("closing"));
  EXPECT_THAT(refusal("root ::= (\"a\""), HasSubstr("without its )"));
  EXPECT_THAT(refusal("root ::= \"a\" ) "), HasSubstr("unbalanced"));
  EXPECT_THAT(refusal("root : x"), HasSubstr("::="));
  EXPECT_THAT(refusal("root ::= \"a\" root ::= \"b\""), HasSubstr("twice"));
  EXPECT_THAT(refusal("root ::= \"a\" root"), HasSubstr("matches no text"));
  EXPECT_THAT(refusal(""), HasSubstr("no rule \"root\""));
}

// A random grammar whose rules begin with a letter, and a matcher that tries everything.
class RandomGrammar {
 public:
  explicit RandomGrammar(uint32_t seed) : random_(seed) {
    for (int rule = 0; rule < 3; ++rule) {
      for (int i = 1 + Below(3); i > 0; --i) {
        std::vector<int> symbols = {-1 - Below(2)};  // letters are negative
        for (int j = Below(4); j > 0; --j)
          symbols.push_back(Below(2) == 0 ? Below(3) : -1 - Below(2));
        rules_[rule].push_back(symbols);
      }
    }
  }

  std::string ToEbnf() const {
    std::string out;
    for (int rule = 0; rule < 3; ++rule) {
      absl::StrAppend(&out, NameOf(rule), " ::= ");
      for (size_t i = 0; i < rules_[rule].size(); ++i) {
        if (i > 0) absl::StrAppend(&out, " | ");
        for (const int symbol : rules_[rule][i]) absl::StrAppend(&out, NameOf(symbol), " ");
      }
      absl::StrAppend(&out, "\n");
    }
    return out;
  }

  // Ends of what `rule` matches in `text` from `begin`.
  std::set<size_t> EndsOf(int rule, const std::string& text, size_t begin) const {
    std::set<size_t> ends;
    for (const std::vector<int>& symbols : rules_[rule]) {
      std::set<size_t> at = {begin};
      for (const int symbol : symbols) {
        std::set<size_t> next;
        for (const size_t place : at) {
          if (symbol >= 0) {
            next.merge(EndsOf(symbol, text, place));
          } else if (place < text.size() && text[place] == LetterOf(symbol)) {
            next.insert(place + 1);
          }
        }
        at = next;
      }
      ends.merge(at);
    }
    return ends;
  }

  std::string Text() {
    std::string text;
    for (int i = Below(9); i > 0; --i) text += LetterOf(-1 - Below(2));
    return text;
  }

 private:
  static char LetterOf(int symbol) { return symbol == -1 ? 'a' : 'b'; }
  static std::string NameOf(int symbol) {
    if (symbol == 0) return "root";
    return symbol > 0 ? absl::StrCat("r", symbol)
                      : absl::StrCat("\"", std::string(1, LetterOf(symbol)), "\"");
  }
  int Below(int bound) { return static_cast<int>(random_() % static_cast<uint32_t>(bound)); }

  std::mt19937 random_;
  std::vector<std::vector<int>> rules_[3];
};

TEST(EbnfParser, AgreesWithAMatcherThatTriesEverything) {
  int num_grammars = 0;
  int num_matches = 0;
  for (uint32_t seed = 0; seed < 600; ++seed) {
    RandomGrammar grammar(seed);
    const auto automaton =
        CompileConstraint({.kind = ConstraintKind::kGrammar, .text = grammar.ToEbnf()});
    if (!automaton.ok()) {  // no text may match
      ASSERT_THAT(std::string(automaton.status().message()), HasSubstr("no text"));
      continue;
    }
    ++num_grammars;
    for (int i = 0; i < 60; ++i) {
      const std::string text = grammar.Text();
      const bool expected = grammar.EndsOf(0, text, 0).contains(text.size());
      ASSERT_EQ(Matches(*automaton, text), expected) << grammar.ToEbnf() << text;
      num_matches += expected ? 1 : 0;
    }
  }
  EXPECT_GT(num_grammars, 300);
  EXPECT_GT(num_matches, 1000);
}

}  // namespace
}  // namespace baton::structured
