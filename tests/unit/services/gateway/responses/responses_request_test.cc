#include "services/gateway/responses/responses_request.h"

#include <string>

#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {
namespace {

ResponsesRequest ParsedOf(const Json& members) {
  Json body = {{"input", "6 x 7?"}};
  body.update(members);
  auto request = ParseResponsesRequest(DumpJson(body));
  EXPECT_TRUE(request.ok()) << request.status();
  return request.ok() ? *std::move(request) : ResponsesRequest();
}

Json ChatOfResponses(const Json& members) { return ParsedOf(members).translation.chat; }
Json TurnsOfInput(const Json& input) { return ChatOfResponses({{"input", input}})["messages"]; }

std::string FieldRefusedInResponses(const Json& members) {
  Json body = {{"input", "6 x 7?"}};
  body.update(members);
  const auto request = ParseResponsesRequest(DumpJson(body));
  EXPECT_FALSE(request.ok()) << members;
  return RefusedField(request.status());
}

TEST(ResponsesRequest, InputIsAQuestionBehindTheInstructions) {
  EXPECT_EQ(ChatOfResponses({{"instructions", "Be short."}})["messages"],
            Json::array({{{"role", "system"}, {"content", "Be short."}},
                         {{"role", "user"}, {"content", "6 x 7?"}}}));
}

TEST(ResponsesRequest, TheBoundOfTheAnswerHasAnotherName) {
  const Json chat = ChatOfResponses({{"max_output_tokens", 7}, {"temperature", 0}});
  EXPECT_EQ(chat["max_completion_tokens"], 7);
  EXPECT_EQ(chat["temperature"], 0);
  EXPECT_FALSE(chat.contains("max_output_tokens"));
}

TEST(ResponsesRequest, ItemsOfAnAssistantInARowAreOneTurn) {
  const auto text = [](const char* type, const char* words) {
    return Json::array({{{"type", type}, {"text", words}}});
  };
  const auto call = [](const char* id, const char* name) {
    return Json{{"type", "function_call"}, {"call_id", id}, {"name", name}, {"arguments", "{}"}};
  };
  const Json turns = TurnsOfInput(Json::array(
      {{{"role", "user"}, {"content", text("input_text", "6 x 7?")}},
       {{"type", "reasoning"}, {"content", text("reasoning_text", "Hm.")}},
       {{"role", "assistant"}, {"content", text("output_text", "Let me look.")}},
       call("c1", "look"),
       call("c2", "wait"),
       {{"type", "function_call_output"}, {"call_id", "c1"}, {"output", "12"}},
       {{"type", "function_call_output"}, {"call_id", "c2"}, {"output", text("input_text", "a")}},
       {{"role", "assistant"}, {"content", "12 it is."}}}));
  ASSERT_EQ(turns.size(), 5u);
  EXPECT_EQ(turns[0]["content"], "6 x 7?");
  EXPECT_EQ(turns[1]["role"], "assistant");
  EXPECT_EQ(turns[1]["reasoning_content"], "Hm.");
  EXPECT_EQ(turns[1]["content"], "Let me look.");
  ASSERT_EQ(turns[1]["tool_calls"].size(), 2u);
  EXPECT_EQ(turns[1]["tool_calls"][1]["id"], "c2");
  EXPECT_EQ(turns[1]["tool_calls"][1]["function"], (Json{{"name", "wait"}, {"arguments", "{}"}}));
  EXPECT_EQ(turns[2], (Json{{"role", "tool"}, {"tool_call_id", "c1"}, {"content", "12"}}));
  EXPECT_EQ(turns[3], (Json{{"role", "tool"}, {"tool_call_id", "c2"}, {"content", "a"}}));
  EXPECT_EQ(turns[4]["content"], "12 it is.");
}

TEST(ResponsesRequest, CallsAloneHaveNoContentAndReasoningAloneAnEmptyOne) {
  const Json call = {
      {"type", "function_call"}, {"call_id", "c"}, {"name", "look"}, {"arguments", "{}"}};
  EXPECT_TRUE(TurnsOfInput(Json::array({call}))[0]["content"].is_null());
  const Json thought = Json::array({{{"type", "reasoning_text"}, {"text", "Hm."}}});
  const Json reasoning = {{"type", "reasoning"}, {"content", thought}};
  EXPECT_EQ(TurnsOfInput(Json::array({reasoning}))[0]["content"], "");
}

TEST(ResponsesRequest, ReasoningOfATurnIsOne) {
  const auto thought = [](const char* words) {
    const Json content = Json::array({{{"type", "reasoning_text"}, {"text", words}}});
    return Json{{"type", "reasoning"}, {"content", content}};
  };
  const Json item = {{"role", "assistant"}, {"content", "A"}};
  const Json turns = TurnsOfInput(Json::array({thought("Hm. "), item, thought("Yes.")}));
  ASSERT_EQ(turns.size(), 1u);
  EXPECT_EQ(turns[0]["reasoning_content"], "Hm. Yes.");
}

TEST(ResponsesRequest, FunctionsStandOneLevelDeeper) {
  const Json function = {{"name", "look"}, {"parameters", {{"type", "object"}}}, {"strict", true}};
  Json tool = function;
  tool["type"] = "function";
  const Json chat = ChatOfResponses(
      {{"tools", Json::array({tool})}, {"tool_choice", {{"type", "function"}, {"name", "look"}}}});
  EXPECT_EQ(chat["tools"], Json::array({{{"type", "function"}, {"function", function}}}));
  EXPECT_EQ(chat["tool_choice"], (Json{{"type", "function"}, {"function", {{"name", "look"}}}}));
  EXPECT_EQ(
      ChatOfResponses({{"tools", Json::array({tool})}, {"tool_choice", "required"}})["tool_choice"],
      "required");
  EXPECT_FALSE(
      ChatOfResponses({{"tools", Json::array()}, {"tool_choice", "auto"}}).contains("tool_choice"));
}

TEST(ResponsesRequest, FormatsStandOneLevelHigher) {
  const Json schema = {{"name", "sum"}, {"schema", {{"type", "object"}}}};
  Json format = schema;
  format["type"] = "json_schema";
  EXPECT_EQ(ChatOfResponses({{"text", {{"format", format}}}})["response_format"],
            (Json{{"type", "json_schema"}, {"json_schema", schema}}));
}

TEST(ResponsesRequest, TheAnswerRepeatsWhatWasAskedAndThatNothingIsStored) {
  const Json echoed = ParsedOf({{"store", true},
                                {"instructions", "Be short."},
                                {"metadata", {{"a", "b"}}},
                                {"max_output_tokens", 9}})
                          .echoed;
  EXPECT_EQ(echoed["store"], false);
  EXPECT_EQ(echoed["instructions"], "Be short.");
  EXPECT_EQ(echoed["metadata"], (Json{{"a", "b"}}));
  EXPECT_EQ(echoed["max_output_tokens"], 9);
  EXPECT_EQ(echoed["tool_choice"], "auto");
  EXPECT_TRUE(echoed["temperature"].is_null());
}

TEST(ResponsesRequest, RefusalsNameTheField) {
  EXPECT_EQ(FieldRefusedInResponses({{"input", nullptr}}), "input");
  EXPECT_EQ(FieldRefusedInResponses({{"input", Json::array()}}), "input");
  EXPECT_EQ(FieldRefusedInResponses({{"input", Json::array({5})}}), "input[0]");
  EXPECT_EQ(FieldRefusedInResponses({{"input", Json::array({{{"type", "web_search_call"}}})}}),
            "input[0].type");
  EXPECT_EQ(FieldRefusedInResponses({{"input", Json::array({{{"role", "user"}, {"content", 5}}})}}),
            "input[0].content");
  EXPECT_EQ(FieldRefusedInResponses({{"tools", Json::array({{{"type", "web_search"}}})}}),
            "tools[0].type");
  EXPECT_EQ(FieldRefusedInResponses({{"previous_response_id", "r"}}), "previous_response_id");
  EXPECT_EQ(FieldRefusedInResponses({{"background", true}}), "background");
  EXPECT_TRUE(ParseResponsesRequest(R"({"input": "x", "background": false})").ok());
}

}  // namespace
}  // namespace baton::gateway
