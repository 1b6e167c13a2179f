// Fields of chat completions that change the prompt, or what the answer says beside its text.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/log/log.h"
#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;
using testing::EndsWith;
using testing::HasSubstr;

class ChatFieldsContract : public GatewayFixture {
 protected:
  void SetUp() override {
    StartGateway();
    AwaitReady(200);
  }

  // The answer to ChatBody() with these members.
  json Ask(const json& members, int status = 200) {
    json request = ChatBody();
    request.update(members);
    const TestHttpResponse response = Post("/v1/chat/completions", request);
    EXPECT_EQ(response.status, status) << response.body;
    return json::parse(response.body);
  }
  std::vector<uint32_t> LastPrompt() {
    const v1::SubmitRequest request = scheduler().requests().back();
    return {request.prompt_token_ids().begin(), request.prompt_token_ids().end()};
  }
  static json Begun(const std::string& content) {
    return {{{"role", "user"}, {"content", "Hi"}}, {{"role", "assistant"}, {"content", content}}};
  }
};

TEST_F(ChatFieldsContract, GoesOnWithTheLastMessage) {
  Answer(" world");
  const json answer =
      Ask({{"messages", Begun("Hello ")}, {"continue_final_message", true}, {"echo", true}});
  EXPECT_THAT(Text(LastPrompt()), EndsWith("<｜Assistant｜>Hello "));
  EXPECT_EQ(answer["choices"][0]["message"]["content"], "Hello  world");
  const json both = {{"continue_final_message", true}, {"add_generation_prompt", true}};
  EXPECT_EQ(Ask(both, 400)["error"]["param"], "continue_final_message");
  // The template cuts the reasoning off, so that this cannot be gone on with.
  const json cut = {{"messages", Begun("why</think>")}, {"continue_final_message", true}};
  EXPECT_EQ(Ask(cut, 400)["error"]["param"], "continue_final_message");
}

TEST_F(ChatFieldsContract, AnAnswerThatEndedInsideItsReasoningIsAnEmptyTurn) {
  Answer("Let me", v1::FINISH_REASON_LENGTH);
  json cut = Ask(json::object())["choices"][0]["message"];
  ASSERT_TRUE(cut["content"].is_null()) << cut;
  const auto prompt = [this](const json& turn) {
    const json question = {{"role", "user"}, {"content", "Hi"}};
    Answer("x");
    Ask({{"messages", {question, turn, question}}});
    return Text(LastPrompt());
  };
  json empty = cut;
  empty["content"] = "";
  const std::string wanted = prompt(empty);
  EXPECT_THAT(wanted, HasSubstr("<｜User｜>Hi<｜Assistant｜><｜end▁of▁sentence｜><｜User｜>Hi"));
  EXPECT_EQ(prompt(cut), wanted);
  cut.erase("content");
  EXPECT_EQ(prompt(cut), wanted);
  const json question = {{{"role", "user"}, {"content", nullptr}}};
  EXPECT_EQ(Ask({{"messages", question}}, 400)["error"]["param"], "messages[0].content");
}

TEST_F(ChatFieldsContract, TruncatesThePromptAtTheSideThatIsAskedFor) {
  Answer("x");
  Ask(json::object());
  const std::vector<uint32_t> whole = LastPrompt();
  ASSERT_GT(whole.size(), 4u);
  Answer("x");
  Ask({{"truncate_prompt_tokens", 3}});
  EXPECT_EQ(LastPrompt(), (std::vector<uint32_t>{whole.end() - 3, whole.end()}));
  Answer("x");
  Ask({{"truncate_prompt_tokens", 3}, {"truncation_side", "right"}});
  EXPECT_EQ(LastPrompt(), (std::vector<uint32_t>{whole.begin(), whole.begin() + 3}));
  std::string text;
  while (text.size() < 60000) text += "many words ";
  const json long_message = {{{"role", "user"}, {"content", text}}};
  Answer("x");
  Ask({{"messages", long_message}, {"truncate_prompt_tokens", -1}, {"max_tokens", 5}});
  EXPECT_EQ(LastPrompt().size(), 4096u - 5);
  EXPECT_EQ(Ask({{"messages", long_message}}, 400)["error"]["code"], "context_length_exceeded");
}

TEST_F(ChatFieldsContract, TheBodyNamesTheRequestUnlessAHeaderDoes) {
  Answer("x");
  EXPECT_EQ(Ask({{"request_id", "mine-1"}})["id"], "chatcmpl-mine-1");
  EXPECT_EQ(scheduler().requests().back().request_id(), "chatcmpl-mine-1");
  EXPECT_EQ(Ask({{"request_id", "two words"}}, 400)["error"]["param"], "request_id");
  Answer("x");
  json request = ChatBody();
  request["request_id"] = "mine-2";
  TestHttpClient client(http_port());
  client.SendRequest("POST", "/v1/chat/completions", request.dump(), "X-Request-Id: theirs\r\n");
  EXPECT_EQ(json::parse(client.Receive().body)["id"], "chatcmpl-theirs");
}

TEST_F(ChatFieldsContract, ReturnsThePromptsText) {
  Answer("x");
  EXPECT_EQ(Ask({{"return_prompt_text", true}})["prompt_text"],
            "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜><think>\n");
}

TEST_F(ChatFieldsContract, BadWordsAreBannedWithAndWithoutABlankBeforeThem) {
  Answer("x");
  Ask({{"bad_words", {" fox", "</think>"}}});
  std::vector<std::vector<uint32_t>> banned;
  const v1::SamplingParams sampling = scheduler().requests().back().sampling();
  for (const v1::TokenSequence& sequence : sampling.banned_sequences()) {
    banned.emplace_back(sequence.token_ids().begin(), sequence.token_ids().end());
  }
  const std::vector<uint32_t> tag = Tokens("</think>");
  ASSERT_EQ(tag.size(), 1u);
  EXPECT_THAT(banned, testing::UnorderedElementsAre(Tokens("fox"), Tokens(" fox"), tag,
                                                    Tokens(" </think>")));
  EXPECT_EQ(Ask({{"bad_words", {""}}}, 400)["error"]["param"], "bad_words");
  EXPECT_EQ(Ask({{"bad_words", "fox"}}, 400)["error"]["param"], "bad_words");
}

TEST_F(ChatFieldsContract, TheThinkingBudgetBoundsTheReasoningOfThisPrompt) {
  const auto budget = [this](const json& members) {
    Answer("x");
    Ask(members);
    return scheduler().requests().back().sampling();
  };
  const uint32_t begin = Tokens("<think>").at(0);
  const uint32_t end = Tokens("</think>").at(0);
  EXPECT_FALSE(budget({{"thinking_token_budget", -1}}).has_reasoning_budget());
  v1::SamplingParams sampling = budget({{"thinking_token_budget", 7}});
  EXPECT_EQ(sampling.reasoning_budget().num_tokens(), 7u);
  EXPECT_EQ(sampling.reasoning_budget().end_token_id(), end);
  const bool begun = Text(LastPrompt()).ends_with("<think>\n");
  EXPECT_EQ(sampling.reasoning_budget().has_begin_after_token_id(), !begun);
  // Where the answer itself would have to begin it.
  sampling = budget({{"thinking_token_budget", 7},
                     {"messages", Begun("Hello")},
                     {"continue_final_message", true}});
  EXPECT_EQ(sampling.reasoning_budget().begin_after_token_id(), begin);
  Answer("x");
  const TestHttpResponse text =
      Post("/v1/completions", {{"prompt", "a<think>b"}, {"thinking_token_budget", 3}});
  EXPECT_EQ(text.status, 200) << text.body;
  EXPECT_FALSE(
      scheduler().requests().back().sampling().reasoning_budget().has_begin_after_token_id());
  // A tag of an earlier turn opens nothing here.
  Answer("x");
  Post("/v1/completions",
       {{"prompt", "a<think>b<｜end▁of▁sentence｜>c"}, {"thinking_token_budget", 3}});
  sampling = scheduler().requests().back().sampling();
  EXPECT_EQ(sampling.reasoning_budget().begin_after_token_id(), begin);
}

TEST_F(ChatFieldsContract, AStreamMayHaveAnEventForSeveralTokens) {
  json request = ChatBody();
  request.update({{"stream", true}, {"stream_interval", 4}, {"return_token_ids", true}});
  const std::string answer = "</think>one two three four five six seven eight nine ten";
  const std::vector<uint32_t> tokens = Tokens(answer);
  ASSERT_GT(tokens.size(), 9u);
  Answer(answer);
  scheduler().HoldAfter(1);
  TestHttpClient client(http_port());
  client.SendRequest("POST", "/v1/chat/completions", request.dump());
  ASSERT_TRUE(client.ReceiveUntil("\"token_ids\":[")) << "the first token goes on at once";
  scheduler().HoldAfter(5);
  const json four = std::vector<uint32_t>(tokens.begin() + 1, tokens.begin() + 5);
  ASSERT_TRUE(client.ReceiveUntil("\"token_ids\":" + four.dump())) << "so do four more";
  scheduler().Release();
  const TestHttpResponse response = client.Receive();
  ASSERT_EQ(response.status, 200) << response.body;
  std::vector<size_t> sizes;
  std::string text;
  for (const std::string& event : response.Events()) {
    if (event == "[DONE]") continue;
    const json choice = json::parse(event)["choices"][0];
    text += choice["delta"].value("content", "");
    if (choice.contains("token_ids")) sizes.push_back(choice["token_ids"].size());
  }
  EXPECT_EQ(text, "one two three four five six seven eight nine ten");
  ASSERT_GT(sizes.size(), 2u);
  EXPECT_EQ(sizes[0], 1u);
  EXPECT_EQ(sizes[1], 4u);
  for (size_t i = 2; i + 1 < sizes.size(); ++i) EXPECT_GE(sizes[i], 4u);
  for (const int wrong : {0, 1025}) {
    EXPECT_EQ(Ask({{"stream", true}, {"stream_interval", wrong}}, 400)["error"]["param"],
              "stream_interval");
  }
}

// Its key has paid for the tokens.
TEST_F(ChatFieldsContract, WhatIsHeldBackComesBeforeTheErrorOfASequence) {
  json request = ChatBody();
  request.update({{"stream", true}, {"stream_interval", 1000}});
  FakeAnswer answer{.token_ids = Tokens("</think>one two three four five")};
  answer.status = absl::InternalError("broken");
  scheduler().PushAnswer(answer);
  const TestHttpResponse response = Post("/v1/chat/completions", request);
  ASSERT_EQ(response.status, 200) << response.body;
  std::string text, error;
  for (const std::string& event : response.Events()) {
    const json parsed = json::parse(event);
    if (parsed.contains("error")) {
      error = parsed["error"]["message"];
      continue;
    }
    EXPECT_EQ(error, "") << "nothing comes behind it";
    text += parsed["choices"][0]["delta"].value("content", "");
  }
  EXPECT_THAT(error, testing::HasSubstr("broken"));
  EXPECT_EQ(text, "one two three four five");
}

TEST_F(ChatFieldsContract, WhatIsIgnoredIsNamedInTheDebugLog) {
  SetMinLogLevel(LogLevel::kDebug);
  testing::internal::CaptureStderr();
  Answer("x");
  Ask({{"structured_outputs", {{"regex", "x"}, {"no_such_option", 1}}},
       {"guided_decoding_backend", "outlines"},
       {"no_such_field", 1}});
  const std::string log = testing::internal::GetCapturedStderr();
  SetMinLogLevel(LogLevel::kInfo);
  EXPECT_THAT(log, HasSubstr("structured_outputs: ignored fields: no_such_option\n"));
  EXPECT_THAT(log, HasSubstr("chat completion: fields that change nothing: "
                             "guided_decoding_backend (there is one; "));
  EXPECT_THAT(log, HasSubstr("chat completion: ignored fields: no_such_field\n"));
}

TEST_F(ChatFieldsContract, ReasoningEffortIsOneOfTheKnown) {
  Answer("x");
  Ask({{"reasoning_effort", "low"}});
  EXPECT_EQ(Ask({{"reasoning_effort", "extreme"}}, 400)["error"]["param"], "reasoning_effort");
}

}  // namespace
}  // namespace baton::gateway
