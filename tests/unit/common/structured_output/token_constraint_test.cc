#include "common/structured_output/token_constraint.h"

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "common/structured_output/constraint.h"
#include "tests/unit/common/structured_output/text_matching.h"

namespace baton::structured {
namespace {

constexpr uint32_t kEnd = 256;      // has no bytes
constexpr uint32_t kSpecial = 257;  // neither
constexpr size_t kVocabSize = 700;  // with holes at the end

// All bytes, two tokens without text, and random pieces of JSON.
std::shared_ptr<const VocabularyTrie> MakeVocabulary(uint32_t seed) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(std::string(1, static_cast<char>(byte)));
  tokens.resize(258);
  std::mt19937 random(seed);
  static constexpr const char* kPieces[] = {"{",    "}",  "\"",    ":", ",", "[",  "]",
                                            " ",    "\n", "1",     "a", "b", "\\", "true",
                                            "null", "é",  "\"a\"", ".", "-"};
  for (int i = 0; i < 400; ++i) {
    std::string token;
    for (uint32_t j = 1 + random() % 5; j > 0; --j) token += kPieces[random() % std::size(kPieces)];
    tokens.push_back(token);  // some stand twice
  }
  return std::make_shared<VocabularyTrie>(tokens, kVocabSize);
}

std::shared_ptr<TokenConstraint> MakeConstraint(const Constraint& constraint,
                                                std::shared_ptr<const VocabularyTrie> vocabulary,
                                                size_t state_bytes = 32 << 20,
                                                size_t cache_bytes = 1 << 22) {
  auto automaton = CompileConstraint(constraint);
  EXPECT_TRUE(automaton.ok()) << automaton.status();
  return std::make_shared<TokenConstraint>(*std::move(automaton), std::move(vocabulary),
                                           std::vector<uint32_t>{kEnd},
                                           std::make_shared<MaskCache>(cache_bytes), state_bytes);
}

std::vector<uint32_t> AllowedOf(ConstraintMatcher& matcher) {
  const auto mask = matcher.AllowedTokens();
  std::vector<uint32_t> tokens;
  for (uint32_t token = 0; token < kVocabSize; ++token) {
    if (IsAllowed(token, *mask)) tokens.push_back(token);
  }
  return tokens;
}

// Walks at random through what the masks allow; at each place the mask must be what trying every
// token says.
void WalkAndCompare(const Constraint& constraint, uint32_t seed, size_t state_bytes = 32 << 20) {
  const auto vocabulary = MakeVocabulary(seed);
  const auto shared = MakeConstraint(constraint, vocabulary, state_bytes);
  std::mt19937 random(seed);
  for (int walk = 0; walk < 4; ++walk) {
    ConstraintMatcher matcher(shared);
    std::vector<uint32_t> taken;
    for (int i = 0; i < 25; ++i) {
      const std::vector<uint32_t> allowed = AllowedOf(matcher);
      std::vector<uint32_t> expected;
      for (uint32_t token = 0; token < kVocabSize; ++token) {
        ConstraintMatcher copy = matcher;
        if (copy.Accept(token)) expected.push_back(token);
      }
      ASSERT_EQ(allowed, expected);
      ASSERT_FALSE(allowed.empty());
      if (allowed.back() == kEnd && allowed.size() == 1) break;
      uint32_t token = kEnd;
      while (token == kEnd) token = allowed[random() % allowed.size()];
      ASSERT_TRUE(matcher.Accept(token));
      taken.push_back(token);
    }
    ConstraintMatcher replayed(shared);
    for (const uint32_t token : taken) ASSERT_TRUE(replayed.Accept(token));
    EXPECT_EQ(AllowedOf(replayed), AllowedOf(matcher));
  }
}

TEST(TokenConstraint, MasksAreWhatTryingEveryTokenSays) {
  for (uint32_t seed = 0; seed < 6; ++seed) {
    WalkAndCompare({.kind = ConstraintKind::kJsonObject}, seed);
    WalkAndCompare({.kind = ConstraintKind::kJsonObject, .compact = true}, seed);
    WalkAndCompare({.kind = ConstraintKind::kRegex, .text = R"(([ab1]{2,5}|é|\{"a"+)*\.)"}, seed);
    WalkAndCompare({.kind = ConstraintKind::kGrammar,
                    .text = R"(root ::= "[" (root ("," root)*)? "]" | [ab] root | "1"+)"},
                   seed);
    WalkAndCompare({.kind = ConstraintKind::kChoice, .choices = {"true", "null1", "{\"a\"}"}},
                   seed);
  }
}

TEST(TokenConstraint, TokensWithoutTextStandWhereTheGrammarNamesThem) {
  const Constraint calls{.kind = ConstraintKind::kGrammar,
                         .text = R"(root ::= "a"? <[257]> call+ <[257]>
                                    call ::= "b" | %json {"enum": [true, {"a": "é}"}]})"};
  for (uint32_t seed = 0; seed < 6; ++seed) WalkAndCompare(calls, seed);
  WalkAndCompare(calls, 3, 1);
  ConstraintMatcher matcher(MakeConstraint(calls, MakeVocabulary(1)));
  EXPECT_FALSE(ConstraintMatcher(matcher).Accept(0xF8)) << "the byte of the token's symbol";
  ASSERT_TRUE(matcher.Accept(kSpecial));
  EXPECT_FALSE(ConstraintMatcher(matcher).Accept(kSpecial));
  ASSERT_TRUE(matcher.Accept('b'));
  ASSERT_TRUE(matcher.Accept(kSpecial));
  EXPECT_TRUE(matcher.IsComplete());
}

TEST(TokenConstraint, ForgettingStatesChangesNothing) {
  WalkAndCompare({.kind = ConstraintKind::kJsonObject}, 3, 1);
  WalkAndCompare({.kind = ConstraintKind::kRegex, .text = "(a|b)*a(a|b){8}"}, 3, 1);
}

TEST(TokenConstraint, AmbiguousStatesAreWalkedWhole) {
  WalkAndCompare({.kind = ConstraintKind::kRegex, .text = "(a|b|1)*a(a|b|1){12}"}, 1);
}

TEST(TokenConstraint, MasksKnowHowDeepRulesMayNest) {
  const std::vector<std::string> tokens = {"[", "]", "[[", "[[[[", "[]", "[[[[[[[[", "]]"};
  const Constraint nested{.kind = ConstraintKind::kGrammar, .text = R"(root ::= "[" root? "]")"};
  ConstraintMatcher matcher(
      MakeConstraint(nested, std::make_shared<VocabularyTrie>(tokens, kVocabSize)));
  uint32_t depth = 0;
  do {
    std::vector<uint32_t> expected;
    for (uint32_t token = 0; token < tokens.size(); ++token) {
      if (ConstraintMatcher(matcher).Accept(token)) expected.push_back(token);
    }
    ASSERT_EQ(AllowedOf(matcher), expected) << depth;
  } while (++depth < 600 && matcher.Accept(0));
  EXPECT_GT(depth, PushdownStates::kMaxDepth - 2);
  EXPECT_LT(depth, 600u);
}

TEST(TokenConstraint, EndsOnlyWhereTheTextMayEnd) {
  ConstraintMatcher matcher(
      MakeConstraint({.kind = ConstraintKind::kChoice, .choices = {"a", "ab"}}, MakeVocabulary(0)));
  EXPECT_FALSE(IsAllowed(kEnd, *matcher.AllowedTokens()));
  EXPECT_FALSE(matcher.IsComplete());
  ASSERT_TRUE(matcher.Accept('a'));
  EXPECT_TRUE(IsAllowed(kEnd, *matcher.AllowedTokens()));
  EXPECT_TRUE(IsAllowed('b', *matcher.AllowedTokens()));
  EXPECT_TRUE(matcher.IsComplete());
  ASSERT_TRUE(matcher.Accept(kEnd));
  EXPECT_EQ(AllowedOf(matcher), std::vector<uint32_t>{kEnd});
  EXPECT_TRUE(matcher.Accept(kEnd));
  EXPECT_FALSE(matcher.Accept('b'));
  EXPECT_TRUE(AllowedOf(matcher).empty());
}

TEST(TokenConstraint, NothingFollowsAWrongToken) {
  ConstraintMatcher matcher(
      MakeConstraint({.kind = ConstraintKind::kRegex, .text = ".*"}, MakeVocabulary(0)));
  EXPECT_FALSE(matcher.Accept(kSpecial));
  EXPECT_TRUE(AllowedOf(matcher).empty());
  EXPECT_FALSE(matcher.Accept('a'));
  EXPECT_FALSE(matcher.Accept(kEnd));
  EXPECT_FALSE(matcher.Accept(kVocabSize + 5));
}

TEST(VocabularyTrie, HoldsEveryTokenOnce) {
  const auto vocabulary = MakeVocabulary(5);
  std::vector<int> seen(kVocabSize, 0);
  std::string path;
  for (const VocabularyTrie::Node& node : vocabulary->nodes()) {
    path.resize(node.depth - 1);
    path.push_back(static_cast<char>(node.byte));
    for (const uint32_t token : vocabulary->tokens(node)) {
      ++seen[token];
      const auto bytes = vocabulary->bytes_of(token);
      EXPECT_EQ(path, std::string(bytes.begin(), bytes.end()));
    }
  }
  for (uint32_t token = 0; token < kVocabSize; ++token) {
    EXPECT_EQ(seen[token], vocabulary->bytes_of(token).empty() ? 0 : 1) << token;
  }
}

}  // namespace
}  // namespace baton::structured
