// Tools in /v1/chat/completions: template, parser, streamed and whole answers.
#include <algorithm>
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

class ToolsContract : public ChatToolsFixture {};

TEST_F(ToolsContract, CallsComeApartFromTextAndReasoning) {
  Serve();
  Answer(kTwoCalls);
  const json choice = PostTools(ToolBody())["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  const json& message = choice["message"];
  EXPECT_TRUE(message["content"].is_null());
  EXPECT_EQ(message["reasoning"], "Look both up.");
  ASSERT_EQ(message["tool_calls"].size(), 2u);
  const json& call = message["tool_calls"][0];
  EXPECT_THAT(call["id"].get<std::string>(), StartsWith("chatcmpl-tool-"));
  EXPECT_EQ(call["type"], "function");
  EXPECT_EQ(call["function"]["name"], "weather");
  EXPECT_EQ(call["function"]["arguments"], R"({"city": "Köln"})");
  EXPECT_EQ(message["tool_calls"][1]["function"]["name"], "time");
  EXPECT_NE(message["tool_calls"][1]["id"], call["id"]);
  EXPECT_THAT(Prompt(0), HasSubstr("\"name\": \"weather\""));
}

// What a client makes of a stream.
struct StreamedChoice {
  std::string reasoning, content, finish;
  std::vector<json> calls;
};

StreamedChoice AddUp(const TestHttpResponse& response) {
  EXPECT_EQ(response.status, 200) << response.body;
  StreamedChoice all;
  for (const std::string& event : response.Events()) {
    if (event == "[DONE]") continue;
    const json choice = json::parse(event)["choices"][0];
    all.reasoning += choice["delta"].value("reasoning", "");
    all.content += choice["delta"].value("content", "");
    if (choice["finish_reason"].is_string()) all.finish = choice["finish_reason"];
    for (const json& piece : choice["delta"].value("tool_calls", json::array())) {
      if (piece.contains("id")) {
        EXPECT_EQ(piece["index"], all.calls.size());
        EXPECT_EQ(piece["type"], "function");
        all.calls.push_back(piece["function"]);
      } else {
        all.calls.at(piece["index"])["arguments"].get_ref<std::string&>() +=
            piece["function"]["arguments"].get<std::string>();
      }
    }
  }
  return all;
}

const json kWeatherCall = {{"name", "weather"}, {"arguments", R"({"city": "Köln"})"}};
const json kTimeCall = {{"name", "time"}, {"arguments", R"({"zone": "CET"})"}};

TEST_F(ToolsContract, StreamedCallsAddUpToTheWholeOnes) {
  Serve();
  Answer(kTwoCalls);
  json request = ToolBody();
  request["stream"] = true;
  const StreamedChoice all = AddUp(Post("/v1/chat/completions", request));
  EXPECT_EQ(all.finish, "tool_calls");
  EXPECT_EQ(all.content, "");
  EXPECT_THAT(all.calls, ElementsAre(kWeatherCall, kTimeCall));
}

TEST_F(ToolsContract, StreamsAreTheSameHoweverTheAnswerIsCut) {
  for (const uint32_t cut : kCuts) {
    Serve(nullptr, {.tokens_per_message = cut});
    for (const int interval : {1, 2, 8, 1024}) {
      Answer(kTextAroundCalls);
      json request = ToolBody();
      request.update({{"stream", true}, {"stream_interval", interval}});
      const StreamedChoice all = AddUp(Post("/v1/chat/completions", request));
      EXPECT_EQ(all.finish, "tool_calls") << cut << ", " << interval;
      EXPECT_EQ(all.reasoning, "Look it up.") << cut << ", " << interval;
      EXPECT_EQ(all.content, "First.Then.Done.") << cut << ", " << interval;
      EXPECT_THAT(all.calls, ElementsAre(kWeatherCall, kTimeCall)) << cut << ", " << interval;
    }
    StopGateway();
  }
}

TEST_F(ToolsContract, OneCallOnlyUnlessParallel) {
  Serve();
  Answer(kTwoCalls);
  json request = ToolBody();
  request["parallel_tool_calls"] = false;
  const json message = PostTools(request)["choices"][0]["message"];
  ASSERT_EQ(message["tool_calls"].size(), 1u);
  EXPECT_EQ(message["tool_calls"][0]["function"]["name"], "weather");
}

TEST_F(ToolsContract, WithoutToolsOrWithChoiceNoneTheTextStaysText) {
  Serve();
  json request = ToolBody();
  request["tool_choice"] = "none";
  for (const json& body : {request, ChatBody()}) {
    Answer(kTwoCalls);
    const json choice = PostTools(body)["choices"][0];
    EXPECT_EQ(choice["finish_reason"], "stop");
    EXPECT_FALSE(choice["message"].contains("tool_calls"));
    EXPECT_THAT(choice["message"]["content"].get<std::string>(), HasSubstr("weather"));
  }
}

TEST_F(ToolsContract, ATagWithoutACallIsText) {
  Serve();
  Answer("</think><｜tool▁calls▁begin｜>none after all");
  const json choice = PostTools(ToolBody())["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_EQ(choice["message"]["content"], "<｜tool▁calls▁begin｜>none after all");
}

TEST_F(ToolsContract, CallsOfEarlierTurnsGoThroughTheTemplate) {
  Serve();
  Answer("12 degrees");  // the prompt ends after the tool's output and opens no reasoning
  json request = ToolBody();
  request["messages"].push_back(
      {{"role", "assistant"},
       {"content", ""},
       {"tool_calls",
        {{{"id", "c1"}, {"function", {{"name", "weather"}, {"arguments", "{\"city\":\"K\"}"}}}}}}});
  request["messages"].push_back({{"role", "tool"}, {"tool_call_id", "c1"}, {"content", "12"}});
  EXPECT_EQ(PostTools(request)["choices"][0]["message"]["content"], "12 degrees");
  EXPECT_THAT(Prompt(0), HasSubstr(ToolCallText("weather", "{\"city\":\"K\"}")));
  EXPECT_THAT(Prompt(0), HasSubstr("<｜tool▁output▁begin｜>12<｜tool▁output▁end｜>"));
}

TEST_F(ToolsContract, RequiredCallsConstrainTheAnswerBehindItsReasoning) {
  Serve();
  Answer(kTwoCalls);
  json request = ToolBody();
  request["tool_choice"] = "required";
  EXPECT_EQ(PostTools(request)["choices"][0]["finish_reason"], "tool_calls");
  const v1::StructuredOutput output = scheduler().requests()[0].sampling().structured_output();
  EXPECT_EQ(output.kind(), v1::StructuredOutput::KIND_GRAMMAR);
  EXPECT_EQ(output.begin_after_token_id(), Tokens("</think>").front());
  for (const char* tag : {"<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>"}) {
    EXPECT_THAT(output.text(), HasSubstr("<[" + std::to_string(Tokens(tag).front()) + "]>"));
  }
  EXPECT_THAT(output.text(), HasSubstr("\"weather"));
  EXPECT_THAT(output.text(), HasSubstr("\"time"));
  EXPECT_THAT(output.text(), HasSubstr(")*"));
}

TEST_F(ToolsContract, ANamedFunctionIsTheOnlyOneAndCalledOnce) {
  Serve();
  Answer("Hm.</think>\n\n<｜tool▁calls▁begin｜>" + ToolCallText("time", "{}") +
         "<｜tool▁calls▁end｜>");
  json request = ToolBody();
  request["tool_choice"] = {{"type", "function"}, {"function", {{"name", "time"}}}};
  const json choice = PostTools(request)["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_EQ(choice["message"]["tool_calls"][0]["function"]["name"], "time");
  const std::string grammar = scheduler().requests()[0].sampling().structured_output().text();
  EXPECT_THAT(grammar, testing::Not(HasSubstr("weather")));
  EXPECT_THAT(grammar, testing::Not(HasSubstr(")*")));
}

TEST_F(ToolsContract, ArgumentsOfRequiredCallsAreObjects) {
  Serve();
  json request = ToolBody();
  request["tool_choice"] = "required";
  const json schemas[] = {json::object(),
                          {{"properties", {{"x", {{"type", "integer"}}}}}},
                          {{"type", {"object", "null"}}},
                          {{"anyOf", {{{"required", {"a"}}}, {{"required", {"b"}}}}}}};
  for (const json& schema : schemas) {
    request["tools"][0]["function"]["parameters"] = schema;
    Answer(kTwoCalls);
    PostTools(request);
    EXPECT_THAT(scheduler().requests().back().sampling().structured_output().text(),
                HasSubstr(R"("type":"object")"))
        << schema;
  }
  for (const json& schema : {json({{"type", "string"}}), json({{"type", {"array", "null"}}})}) {
    request["tools"][0]["function"]["parameters"] = schema;
    EXPECT_EQ(PostTools(request, 400)["error"]["param"], "tools[0].function.parameters");
  }
}

TEST_F(ToolsContract, RequiredCallsGoWithNothingElseThatConstrains) {
  Serve();
  const auto refused = [&](const json& patch, const std::string& field) {
    json request = ToolBody();
    request["tool_choice"] = "required";
    request.merge_patch(patch);
    EXPECT_EQ(PostTools(request, 400)["error"]["param"], field);
  };
  refused({{"response_format", {{"type", "json_object"}}}}, "tool_choice");
  json tools = ToolBody()["tools"];
  tools[0]["function"]["parameters"] = {{"not", json::object()}};
  refused({{"tools", tools}}, "tools");
  refused({{"tool_choice", "none"}, {"guided_grammar", "root ::= <[5]>"}}, "guided_grammar");
}

TEST_F(ToolsContract, WrongToolsNameTheirField) {
  Serve();
  const auto refused = [&](const json& patch, const std::string& field) {
    json request = ToolBody();
    request.merge_patch(patch);
    EXPECT_EQ(PostTools(request, 400)["error"]["param"], field);
  };
  refused({{"tools", json::array()}}, "tools");
  refused({{"tools", {{{"type", "retrieval"}}}}}, "tools[0].type");
  refused({{"tools", {{{"type", "function"}, {"function", {{"name", ""}}}}}}},
          "tools[0].function.name");
  refused({{"tool_choice", {{"type", "function"}, {"function", {{"name", "other"}}}}}},
          "tool_choice");
  refused({{"tool_choice", "required"}, {"tools", nullptr}}, "tool_choice");
  json twice = ToolBody()["tools"];
  twice[1]["function"]["name"] = twice[0]["function"]["name"];
  refused({{"tools", twice}}, "tools[1].function.name");
  EXPECT_TRUE(scheduler().requests().empty());
}

TEST_F(ToolsContract, ControlTokensInADescriptionArePlainText) {
  Serve();
  json control = ToolBody();
  control["tools"][1]["function"]["description"] = "Ends \"<｜Assistant｜>\" turns.";
  Answer("Hm.</think>x");
  PostTools(control);
  const v1::SubmitRequest sent = scheduler().requests().back();
  EXPECT_EQ(std::count(sent.prompt_token_ids().begin(), sent.prompt_token_ids().end(),
                       Tokens("<｜Assistant｜>").at(0)),
            1);
  EXPECT_THAT(Prompt(0), HasSubstr(R"(Ends \"<｜Assistant｜>\" turns.)"));
}

TEST_F(ToolsContract, ATemplateThatHidesToolsRefusesThem) {
  StartGateway();  // the model's own template
  AwaitReady(200);
  const json error = PostTools(ToolBody(), 400)["error"];
  EXPECT_EQ(error["param"], "tools");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("--chat-template"));
}

TEST_F(ToolsContract, FlagsSayWhetherAndHowCallsAreFound) {
  Serve([](GatewayConfig& config) { config.model.auto_tool_choice = false; });
  EXPECT_EQ(PostTools(ToolBody(), 400)["error"]["param"], "tool_choice");
  StopGateway();
  Serve([](GatewayConfig& config) { config.model.tool_call_parser = "none"; });
  EXPECT_EQ(PostTools(ToolBody(), 400)["error"]["param"], "tools");
}

TEST_F(ToolsContract, ReasoningHasTheNamesThatTheFlagSays) {
  Serve([](GatewayConfig& config) {
    config.reasoning_names = {.reasoning = true, .reasoning_content = false};
  });
  Answer("why</think>what");
  const json message = PostTools(ChatBody())["choices"][0]["message"];
  EXPECT_EQ(message["reasoning"], "why");
  EXPECT_FALSE(message.contains("reasoning_content"));
}

TEST_F(ToolsContract, ReasoningTokensAreExact) {
  Serve();
  const std::string reasoning = "Let me think about it.</think>";
  json request = ChatBody();
  request["stop"] = {"</think>\n\nnever"};  // holds the tag back
  Answer(reasoning + "\n\n42 is it.");
  const json usage = PostTools(request)["usage"];
  EXPECT_EQ(usage["completion_tokens_details"]["reasoning_tokens"], Tokens(reasoning).size());
}

}  // namespace
}  // namespace baton::gateway
