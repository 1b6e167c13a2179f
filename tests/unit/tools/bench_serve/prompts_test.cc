#include "tools/bench_serve/prompts.h"

#include <fstream>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "tools/bench_serve/request_body.h"

namespace baton::bench {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

std::unique_ptr<Tokenizer> DemoTokenizer() {
  auto tokenizer = Tokenizer::CreateFromFile(
      absl::StrCat(BATON_SOURCE_DIR, "/tests/data/tiny-r1/tokenizer.json"));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::string WriteLines(const std::string& lines) {
  const std::string path = testing::TempDir() + "/prompts.jsonl";
  std::ofstream(path) << lines;
  return path;
}

TEST(MakePrompts, GivesRandomIdsOfTheWantedLengths) {
  const PromptOptions options{.input_len = 20, .output_len = 5, .prefix_len = 3, .vocab_size = 100};
  const auto prompts = MakePrompts(options, nullptr, 4, 1);
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 4);
  for (const Prompt& prompt : *prompts) {
    EXPECT_EQ(prompt.token_ids.size(), 23);
    EXPECT_EQ(prompt.num_tokens, 23);
    EXPECT_EQ(prompt.output_len, 5);
    EXPECT_EQ(prompt.token_ids[0], prompts->front().token_ids[0]);
    EXPECT_EQ(prompt.token_ids[2], prompts->front().token_ids[2]);
    for (const uint32_t id : prompt.token_ids) EXPECT_LT(id, 100);
  }
  EXPECT_NE((*prompts)[0].token_ids, (*prompts)[1].token_ids);
  EXPECT_EQ((*MakePrompts(options, nullptr, 4, 1))[3].token_ids, prompts->back().token_ids);
}

TEST(MakePrompts, VariesLengthsWithinTheRatio) {
  const auto prompts =
      MakePrompts({.input_len = 100, .output_len = 10, .range_ratio = 0.5}, nullptr, 200, 1);
  ASSERT_TRUE(prompts.ok());
  std::set<uint32_t> lengths;
  for (const Prompt& prompt : *prompts) {
    lengths.insert(prompt.num_tokens);
    EXPECT_GE(prompt.output_len, 5);
    EXPECT_LE(prompt.output_len, 15);
  }
  EXPECT_GE(*lengths.begin(), 50);
  EXPECT_LE(*lengths.rbegin(), 150);
  EXPECT_GT(lengths.size(), 20);
}

TEST(MakePrompts, GivesTextOfKnownLength) {
  const auto tokenizer = DemoTokenizer();
  const auto prompts = MakePrompts({.input_len = 30, .as_text = true}, tokenizer.get(), 5, 1);
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  for (const Prompt& prompt : *prompts) {
    EXPECT_TRUE(prompt.token_ids.empty());
    EXPECT_EQ(tokenizer->Encode(prompt.text)->size(), prompt.num_tokens);
    EXPECT_NEAR(prompt.num_tokens, 30, 3);
  }
  EXPECT_THAT(MakePrompts({.as_text = true}, nullptr, 1, 1).status().message(),
              HasSubstr("--tokenizer"));
}

TEST(MakePrompts, SharesPrefixesInTurns) {
  const auto prompts = MakePrompts({.dataset = Dataset::kPrefixRepetition,
                                    .repetition_prefix_len = 8,
                                    .repetition_suffix_len = 4,
                                    .num_prefixes = 2},
                                   nullptr, 4, 1);
  ASSERT_TRUE(prompts.ok());
  const auto prefix = [&](size_t i) {
    return std::vector<uint32_t>((*prompts)[i].token_ids.begin(),
                                 (*prompts)[i].token_ids.begin() + 8);
  };
  EXPECT_EQ((*prompts)[0].num_tokens, 12);
  EXPECT_EQ(prefix(0), prefix(2));
  EXPECT_EQ(prefix(1), prefix(3));
  EXPECT_NE(prefix(0), prefix(1));
  EXPECT_NE((*prompts)[0].token_ids, (*prompts)[2].token_ids);
}

TEST(MakePrompts, ReadsACustomFileAgainIfItIsShort) {
  const std::string path =
      WriteLines("{\"prompt\": \"one\", \"output_tokens\": 3}\n\n{\"prompt\": \"two\"}\n");
  const auto tokenizer = DemoTokenizer();
  const PromptOptions options{.dataset = Dataset::kCustom, .path = path, .custom_output_len = 9};
  const auto prompts = MakePrompts(options, tokenizer.get(), 3, 1);
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  EXPECT_EQ((*prompts)[0].output_len, 3);
  EXPECT_EQ((*prompts)[1].output_len, 9);
  EXPECT_EQ((*prompts)[2].text, "one");
  EXPECT_GT((*prompts)[1].num_tokens, 0);
}

TEST(MakePrompts, NamesTheLineThatIsWrong) {
  const std::string path = WriteLines("{\"prompt\": \"one\"}\n{\"text\": \"two\"}\n");
  const PromptOptions options{.dataset = Dataset::kCustom, .path = path};
  EXPECT_THAT(MakePrompts(options, nullptr, 2, 1).status().message(), HasSubstr(":2 is no"));
  EXPECT_FALSE(MakePrompts({.dataset = Dataset::kCustom, .path = "/no/such"}, nullptr, 1, 1).ok());
}

// `count` words, each of at least one token.
std::string Words(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) absl::StrAppend(&text, "word ");
  return text;
}

Json Conversation(const std::string& question, const std::string& answer) {
  return {{"id", "x"},
          {"conversations",
           {{{"from", "human"}, {"value", question}}, {{"from", "gpt"}, {"value", answer}}}}};
}

TEST(MakePrompts, TakesTheFittingConversationsOfAFile) {
  const std::string question = "What is the sum of seventeen and twenty five?";
  const std::string answer = "The sum of both is forty two, of course.";
  Json rows = Json::array({Conversation(question, answer), Conversation(Words(1100), answer),
                           Conversation(question, Words(2048)), Conversation("", answer),
                           Conversation(question, "")});
  rows.push_back({{"conversations", {{{"value", "alone"}}}}});
  rows.push_back({{"text", "no conversation"}});
  const std::string path = WriteLines(rows.dump());
  const auto tokenizer = DemoTokenizer();
  PromptOptions options{.dataset = Dataset::kShareGpt, .path = path};
  const auto prompts = MakePrompts(options, tokenizer.get(), 3, 1);
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 3);
  for (const Prompt& prompt : *prompts) {
    EXPECT_EQ(prompt.text, question);
    EXPECT_EQ(prompt.num_tokens, tokenizer->Encode(question)->size());
    EXPECT_EQ(prompt.output_len, static_cast<int64_t>(tokenizer->Encode(answer)->size()));
  }
  // A given length does without the file's answers.
  options.sharegpt_output_len = 2;
  const auto given = MakePrompts(options, tokenizer.get(), 3, 1);
  ASSERT_TRUE(given.ok()) << given.status();
  for (const Prompt& prompt : *given) {
    EXPECT_EQ(prompt.text, question);
    EXPECT_EQ(prompt.output_len, 2);
  }
}

TEST(MakePrompts, DrawsTheOrderOfConversations) {
  Json rows = Json::array();
  for (int i = 0; i < 30; ++i) {
    rows.push_back(
        Conversation(absl::StrCat("What is number ", i, " of them?"), "It is a number."));
  }
  const PromptOptions options{.dataset = Dataset::kShareGpt, .path = WriteLines(rows.dump())};
  const auto tokenizer = DemoTokenizer();
  const auto texts = [&](uint64_t seed) {
    std::vector<std::string> all;
    const auto prompts = MakePrompts(options, tokenizer.get(), 10, seed);
    for (const Prompt& prompt : *prompts) all.push_back(prompt.text);
    return all;
  };
  EXPECT_EQ(texts(1), texts(1));
  EXPECT_NE(texts(1), texts(2));
  const std::vector<std::string> drawn = texts(1);
  EXPECT_EQ(std::set<std::string>(drawn.begin(), drawn.end()).size(), 10);
}

TEST(MakePrompts, NamesWhatIsNoFileOfConversations) {
  const auto tokenizer = DemoTokenizer();
  const auto refusal = [&](const std::string& text) {
    return std::string(MakePrompts({.dataset = Dataset::kShareGpt, .path = WriteLines(text)},
                                   tokenizer.get(), 1, 1)
                           .status()
                           .message());
  };
  EXPECT_THAT(refusal("{}"), HasSubstr("no JSON array"));
  EXPECT_THAT(refusal("[1"), HasSubstr("no JSON array"));
  EXPECT_THAT(refusal("[]"), HasSubstr("no conversation of a fitting length"));
  EXPECT_THAT(refusal(R"([{"conversations": [{"value": "a"}, {"text": "b"}]}])"),
              HasSubstr("element 0"));
  const PromptOptions options{.dataset = Dataset::kShareGpt, .path = WriteLines("[]")};
  EXPECT_THAT(MakePrompts(options, nullptr, 1, 1).status().message(), HasSubstr("--tokenizer"));
}

TEST(RequestBody, IsACompletionOfTokenIds) {
  BenchOptions options;
  options.ignore_eos = true;
  options.sampling = {{"temperature", "0"}};
  options.extra_body = R"({"user": "me"})";
  const Json body = Json::parse(RequestBody(options, "m", {.token_ids = {5, 6}, .output_len = 7}));
  EXPECT_EQ(body["model"], "m");
  EXPECT_EQ(body["prompt"], Json::array({5, 6}));
  EXPECT_EQ(body["max_tokens"], 7);
  EXPECT_EQ(body["stream"], true);
  EXPECT_EQ(body["stream_options"]["include_usage"], true);
  EXPECT_EQ(body["ignore_eos"], true);
  EXPECT_EQ(body["temperature"], 0);
  EXPECT_EQ(body["user"], "me");
}

TEST(RequestBody, IsAChat) {
  BenchOptions options;
  options.api = Api::kChat;
  options.sampling = {{"logprobs", "2"}};
  const Json body = Json::parse(RequestBody(options, "m", {.text = "hi", .output_len = 7}));
  EXPECT_EQ(body["messages"][0]["content"], "hi");
  EXPECT_EQ(body["max_completion_tokens"], 7);
  EXPECT_EQ(body["logprobs"], true);
  EXPECT_EQ(body["top_logprobs"], 2);
  EXPECT_FALSE(body.contains("prompt"));
}

}  // namespace
}  // namespace baton::bench
