// Tool turns of POST /v1/messages: request, forced and free calls, streamed and whole, results.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/contract/gateway/tools_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

json MessagesBody() {
  return {
      {"model", "tiny-r1"},
      {"max_tokens", 200},
      {"messages", {{{"role", "user"}, {"content", "How is it in Köln?"}}}},
      {"tools",
       {{{"name", "weather"},
         {"description", "Weather of a city."},
         {"input_schema", {{"type", "object"}, {"properties", {{"city", {{"type", "string"}}}}}}}},
        {{"type", "custom"}, {"name", "time"}, {"input_schema", {{"type", "object"}}}}}}};
}

class MessagesToolsContract : public ToolsFixture {
 protected:
  json PostMessages(const json& body, int status = 200) {
    return PostJson("/v1/messages", body, status);
  }
};

// What a client makes of the events of a stream: the message, block by block.
json MessageOf(const std::vector<json>& events) {
  json message, *block = nullptr;
  std::string input;
  for (const json& event : events) {
    const std::string type = event["type"];
    if (type == "message_start") message = event["message"];
    if (type == "content_block_start") {
      EXPECT_EQ(block, nullptr) << "the block before it is open";
      EXPECT_EQ(event["index"], message["content"].size());
      message["content"].push_back(event["content_block"]);
      block = &message["content"].back();
      input.clear();
      if ((*block)["type"] == "tool_use") {
        EXPECT_EQ((*block)["input"], json::object());
      }
    }
    if (type == "content_block_delta") {
      EXPECT_EQ(event["index"], message["content"].size() - 1);
      const json& delta = event["delta"];
      if (delta["type"] == "input_json_delta") {
        EXPECT_EQ((*block)["type"], "tool_use");
        input += delta["partial_json"].get<std::string>();
      } else {
        const std::string key = delta["type"] == "text_delta" ? "text" : "thinking";
        block->at(key).get_ref<std::string&>() += delta[key].get<std::string>();
      }
    }
    if (type == "content_block_stop") {
      EXPECT_EQ(event["index"], message["content"].size() - 1);
      if (!input.empty()) (*block)["input"] = json::parse(input);
      block = nullptr;
    }
    if (type == "message_delta") {
      message.update(event["delta"]);
      message["usage"] = event["usage"];
    }
  }
  EXPECT_EQ(block, nullptr);
  return message;
}

// Without what is drawn anew for each answer.
json WithoutIds(json message) {
  message.erase("id");
  for (json& block : message["content"]) block.erase("id");
  return message;
}

TEST_F(MessagesToolsContract, CallsAreBlocksBehindTheThinking) {
  Serve();
  Answer(kTwoCalls);
  const json message = PostMessages(MessagesBody());
  EXPECT_EQ(message["stop_reason"], "tool_use");
  ASSERT_EQ(message["content"].size(), 3u);
  EXPECT_EQ(message["content"][0]["thinking"], "Look both up.");
  const json& call = message["content"][1];
  EXPECT_EQ(call["type"], "tool_use");
  EXPECT_EQ(call["name"], "weather");
  EXPECT_EQ(call["input"], (json{{"city", "Köln"}}));
  EXPECT_THAT(call["id"].get<std::string>(), StartsWith("toolu_"));
  EXPECT_EQ(message["content"][2]["name"], "time");
  EXPECT_NE(message["content"][2]["id"], call["id"]);
  EXPECT_THAT(Prompt(0), HasSubstr("\"name\": \"weather\""));
  EXPECT_THAT(Prompt(0), HasSubstr("Weather of a city."));
  EXPECT_THAT(Prompt(0), HasSubstr("\"parameters\""));
}

TEST_F(MessagesToolsContract, StreamedBlocksAddUpToTheWholeMessage) {
  Serve();
  json body = MessagesBody();
  Answer(kTwoCalls);
  const json whole = PostMessages(body);
  Answer(kTwoCalls);
  body["stream"] = true;
  const std::vector<json> events = PostEvents("/v1/messages", body);
  EXPECT_THAT(TypesOf(events),
              ElementsAre("message_start", "content_block_start", "content_block_delta",
                          "content_block_stop", "content_block_start", "content_block_delta",
                          "content_block_stop", "content_block_start", "content_block_delta",
                          "content_block_stop", "message_delta", "message_stop"));
  EXPECT_EQ(WithoutIds(MessageOf(events)), WithoutIds(whole));
}

// Tokens that arrive together make one update; whatever it holds, the blocks keep their order.
TEST_F(MessagesToolsContract, BlocksAreInOrderHoweverTheAnswerIsCut) {
  json first;
  for (const uint32_t cut : kCuts) {
    Serve(nullptr, {.tokens_per_message = cut});
    json body = MessagesBody();
    Answer(kTextAroundCalls);
    const json whole = WithoutIds(PostMessages(body));
    Answer(kTextAroundCalls);
    body["stream"] = true;
    EXPECT_EQ(WithoutIds(MessageOf(PostEvents("/v1/messages", body))), whole) << cut;
    if (first.is_null()) first = whole;
    EXPECT_EQ(whole, first) << cut;
    StopGateway();
  }
  const json& content = first["content"];
  ASSERT_EQ(content.size(), 6u) << first;
  EXPECT_EQ(content[1]["text"], "First.");
  EXPECT_EQ(content[2]["input"], (json{{"city", "Köln"}}));
  EXPECT_EQ(content[3]["text"], "Then.");
  EXPECT_EQ(content[4]["input"], (json{{"zone", "CET"}}));
  EXPECT_EQ(content[5]["text"], "Done.");
}

TEST_F(MessagesToolsContract, ACallWithoutArgumentsHasAnEmptyInput) {
  Serve();
  const std::string text =
      "Hm.</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>time"
      "<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
  json body = MessagesBody();
  Answer(text);
  const json whole = PostMessages(body);
  ASSERT_EQ(whole["content"].size(), 2u) << whole;
  EXPECT_EQ(whole["content"][1]["input"], json::object());
  Answer(text);
  body["stream"] = true;
  EXPECT_EQ(WithoutIds(MessageOf(PostEvents("/v1/messages", body))), WithoutIds(whole));
}

TEST_F(MessagesToolsContract, ACallThatIsCutShortSaysSo) {
  Serve();
  const std::string text = kTwoCalls.substr(0, kTwoCalls.find("Köln"));
  json body = MessagesBody();
  Answer(text, v1::FINISH_REASON_LENGTH);
  const json whole = PostMessages(body);
  EXPECT_EQ(whole["stop_reason"], "max_tokens");
  EXPECT_EQ(whole["content"][1]["input"], (json{{"arguments", "{\"city\": \""}}));
  Answer(text, v1::FINISH_REASON_LENGTH);
  body["stream"] = true;
  const std::vector<json> events = PostEvents("/v1/messages", body);
  EXPECT_THAT(TypesOf(events),
              ElementsAre("message_start", "content_block_start", "content_block_delta",
                          "content_block_stop", "content_block_start", "content_block_delta",
                          "content_block_stop", "message_delta", "message_stop"));
  EXPECT_EQ(events[events.size() - 2]["delta"]["stop_reason"], "max_tokens");
}

TEST_F(MessagesToolsContract, ForcedCallsConstrainTheAnswer) {
  Serve();
  json body = MessagesBody();
  Answer(kTwoCalls);
  body["tool_choice"] = {{"type", "any"}};
  EXPECT_EQ(PostMessages(body)["stop_reason"], "tool_use");
  EXPECT_THAT(Grammar(), HasSubstr("\"weather"));
  EXPECT_THAT(Grammar(), HasSubstr("\"time"));
  EXPECT_THAT(Grammar(), HasSubstr(")*"));

  Answer(kTwoCalls);
  body["tool_choice"]["disable_parallel_tool_use"] = true;
  EXPECT_EQ(PostMessages(body)["content"].size(), 2u) << "thinking and one call";
  EXPECT_THAT(Grammar(), Not(HasSubstr(")*")));

  Answer("Hm.</think>\n\n<｜tool▁calls▁begin｜>" + ToolCallText("time", "{}") +
         "<｜tool▁calls▁end｜>");
  body["tool_choice"] = {{"type", "tool"}, {"name", "time"}};
  const json named = PostMessages(body);
  EXPECT_EQ(named["stop_reason"], "tool_use");
  EXPECT_EQ(named["content"][1]["input"], json::object());
  EXPECT_THAT(Grammar(), Not(HasSubstr("weather")));

  Answer(kTwoCalls);
  body["tool_choice"] = {{"type", "none"}};
  const json none = PostMessages(body);
  EXPECT_EQ(none["stop_reason"], "end_turn");
  EXPECT_THAT(none["content"][1]["text"].get<std::string>(), HasSubstr("weather"));
}

TEST_F(MessagesToolsContract, StrictToolsConstrainTheAnswer) {
  Serve();
  json body = MessagesBody();
  body["tools"][0]["strict"] = true;
  Answer(kTwoCalls);
  EXPECT_EQ(PostMessages(body)["stop_reason"], "tool_use");
  EXPECT_THAT(Grammar(), HasSubstr("root ::= text ("));
}

TEST_F(MessagesToolsContract, ResultsGoBackThroughTheTemplate) {
  Serve();
  json body = MessagesBody();
  Answer(kTwoCalls);
  const json first = PostMessages(body);
  body["messages"].push_back({{"role", "assistant"}, {"content", first["content"]}});
  body["messages"].push_back({{"role", "user"},
                              {"content",
                               {{{"type", "tool_result"},
                                 {"tool_use_id", first["content"][1]["id"]},
                                 {"content", {{{"type", "text"}, {"text", "12 degrees"}}}}},
                                {{"type", "tool_result"},
                                 {"tool_use_id", first["content"][2]["id"]},
                                 {"content", "noon"},
                                 {"is_error", false}}}}});
  Answer("12 degrees at noon");
  const json second = PostMessages(body);
  EXPECT_EQ(second["content"], (json{{{"type", "text"}, {"text", "12 degrees at noon"}}}));
  EXPECT_EQ(second["stop_reason"], "end_turn");
  EXPECT_THAT(Prompt(1), HasSubstr(ToolCallText("weather", R"({"city":"Köln"})")));
  EXPECT_THAT(Prompt(1), HasSubstr("<｜tool▁output▁begin｜>12 degrees<｜tool▁output▁end｜>\n"
                                   "<｜tool▁output▁begin｜>noon<｜tool▁output▁end｜>"));
  EXPECT_THAT(Prompt(1), Not(HasSubstr("Look both up."))) << "reasoning is of its own turn";

  // A question that comes with the result stands behind it.
  json& last = body["messages"].back()["content"];
  last.insert(last.begin(), json{{"type", "text"}, {"text", "And tomorrow?"}});
  Answer("</think>Who knows");
  PostMessages(body);
  EXPECT_THAT(Prompt(2), HasSubstr("<｜User｜>And tomorrow?<｜Assistant｜>"));
}

TEST_F(MessagesToolsContract, WrongToolTurnsAreRefused) {
  Serve();
  const auto refused = [&](const json& patch, const std::string& words) {
    json body = MessagesBody();
    body.merge_patch(patch);
    const json error = PostMessages(body, 400);
    EXPECT_EQ(error["error"]["type"], "invalid_request_error");
    EXPECT_THAT(error["error"]["message"].get<std::string>(), HasSubstr(words));
  };
  refused({{"tools", {{{"type", "web_search_20250305"}, {"name", "web_search"}}}}}, "tools[0]");
  refused({{"tools", {{{"input_schema", json::object()}}}}}, "name");
  refused({{"tool_choice", {{"type", "some"}}}}, "tool_choice.type");
  refused({{"tool_choice", {{"type", "tool"}}}}, "tool_choice.name");
  refused({{"tool_choice", {{"type", "tool"}, {"name", "other"}}}}, "\"other\"");
  refused({{"tool_choice", {{"type", "any"}}}, {"tools", nullptr}}, "tools");
  const auto turn = [](const char* role, const json& block) {
    return json{{"messages", {{{"role", role}, {"content", {block}}}}}};
  };
  refused(turn("assistant", {{"type", "tool_use"}, {"id", "t"}, {"name", "time"}}),
          "messages[0].content[0].input");
  refused(turn("user", {{"type", "tool_result"}, {"content", "12"}}),
          "messages[0].content[0].tool_use_id");
  refused(turn("user", {{"type", "tool_result"},
                        {"tool_use_id", "t"},
                        {"content", {{{"type", "image"}, {"source", json::object()}}}}}),
          "messages[0].content[0].content[0]");
  EXPECT_TRUE(scheduler().requests().empty());
}

}  // namespace
}  // namespace baton::gateway
