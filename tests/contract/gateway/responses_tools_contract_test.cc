// Tool turns of POST /v1/responses: request, forced and free calls, streamed and whole, results.
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

json ResponsesBody() {
  return {{"model", "tiny-r1"},
          {"input", "How is it in Köln?"},
          {"tools",
           {{{"type", "function"},
             {"name", "weather"},
             {"description", "Weather of a city."},
             {"parameters", {{"type", "object"}, {"properties", {{"city", {{"type", "string"}}}}}}},
             {"strict", true}},
            {{"type", "function"}, {"name", "time"}}}}};
}

class ResponsesToolsContract : public ToolsFixture {
 protected:
  json PostResponses(const json& body, int status = 200) {
    return PostJson("/v1/responses", body, status);
  }
};

// Without what is drawn anew for each answer.
json OutputWithoutIds(json response) {
  for (json& item : response["output"]) {
    item.erase("id");
    item.erase("call_id");
  }
  return response["output"];
}

TEST_F(ResponsesToolsContract, CallsAreItemsBehindTheReasoning) {
  Serve();
  Answer(kTwoCalls);
  const json response = PostResponses(ResponsesBody());
  EXPECT_EQ(response["status"], "completed");
  EXPECT_EQ(response["tools"], ResponsesBody()["tools"]);
  const json& output = response["output"];
  ASSERT_EQ(output.size(), 3u);
  EXPECT_EQ(output[0]["type"], "reasoning");
  EXPECT_EQ(output[0]["content"][0]["text"], "Look both up.");
  EXPECT_EQ(output[1]["type"], "function_call");
  EXPECT_EQ(output[1]["name"], "weather");
  EXPECT_EQ(output[1]["arguments"], R"({"city": "Köln"})");
  EXPECT_EQ(output[1]["status"], "completed");
  EXPECT_THAT(output[1]["id"].get<std::string>(), StartsWith("fc_"));
  EXPECT_THAT(output[1]["call_id"].get<std::string>(), StartsWith("call_"));
  EXPECT_EQ(output[2]["name"], "time");
  EXPECT_NE(output[2]["call_id"], output[1]["call_id"]);
  EXPECT_THAT(Prompt(0), HasSubstr("\"name\": \"weather\""));
  EXPECT_THAT(Prompt(0), HasSubstr("Weather of a city."));
}

// The events of the items from `first` on, each of which is a function call; returns the items.
json CallsOf(const std::vector<json>& events, size_t first) {
  json calls = json::array();
  json open;
  for (const json& event : events) {
    const std::string type = event["type"];
    if (!event.contains("output_index") || event["output_index"] < first) continue;
    EXPECT_EQ(event["output_index"], first + calls.size()) << event;
    if (type == "response.output_item.added") {
      open = event["item"];
      EXPECT_EQ(open["status"], "in_progress");
      EXPECT_EQ(open["arguments"], "");
      continue;
    }
    if (type == "response.output_item.done") {
      EXPECT_EQ(event["item"]["id"], open["id"]);
      EXPECT_EQ(event["item"]["call_id"], open["call_id"]);
      EXPECT_EQ(event["item"]["arguments"], open["arguments"]);
      calls.push_back(event["item"]);
      continue;
    }
    EXPECT_EQ(event["item_id"], open["id"]) << event;
    if (type == "response.function_call_arguments.delta") {
      open["arguments"].get_ref<std::string&>() += event["delta"].get<std::string>();
    } else {
      EXPECT_EQ(type, "response.function_call_arguments.done");
      EXPECT_EQ(event["name"], open["name"]);
      EXPECT_EQ(event["arguments"], open["arguments"]);
    }
  }
  return calls;
}

TEST_F(ResponsesToolsContract, StreamedItemsAddUpToTheWholeResponse) {
  Serve();
  json body = ResponsesBody();
  Answer(kTwoCalls);
  const json whole = PostResponses(body);
  Answer(kTwoCalls);
  body["stream"] = true;
  const std::vector<json> events = PostEvents("/v1/responses", body);
  EXPECT_THAT(
      TypesOf(events),
      ElementsAre("response.created", "response.in_progress", "response.output_item.added",
                  "response.content_part.added", "response.reasoning_text.delta",
                  "response.reasoning_text.done", "response.content_part.done",
                  "response.output_item.done", "response.output_item.added",
                  "response.function_call_arguments.delta", "response.function_call_arguments.done",
                  "response.output_item.done", "response.output_item.added",
                  "response.function_call_arguments.delta", "response.function_call_arguments.done",
                  "response.output_item.done", "response.completed"));
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i]["sequence_number"], i);
  const json& last = events.back()["response"];
  EXPECT_EQ(OutputWithoutIds(last), OutputWithoutIds(whole));
  EXPECT_EQ(last["usage"], whole["usage"]);
  const json calls = CallsOf(events, 1);
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls, (json{last["output"][1], last["output"][2]}));
}

// Tokens that arrive together make one update; whatever it holds, the items keep their order.
TEST_F(ResponsesToolsContract, ItemsAreInOrderHoweverTheAnswerIsCut) {
  json first;
  for (const uint32_t cut : kCuts) {
    Serve(nullptr, {.tokens_per_message = cut});
    json body = ResponsesBody();
    Answer(kTextAroundCalls);
    const json whole = OutputWithoutIds(PostResponses(body));
    Answer(kTextAroundCalls);
    body["stream"] = true;
    const std::vector<json> events = PostEvents("/v1/responses", body);
    EXPECT_EQ(OutputWithoutIds(events.back()["response"]), whole) << cut;
    if (first.is_null()) first = whole;
    EXPECT_EQ(whole, first) << cut;
    StopGateway();
  }
  ASSERT_EQ(first.size(), 6u) << first;
  EXPECT_EQ(first[1]["content"][0]["text"], "First.");
  EXPECT_EQ(first[2]["arguments"], R"({"city": "Köln"})");
  EXPECT_EQ(first[3]["content"][0]["text"], "Then.");
  EXPECT_EQ(first[4]["arguments"], R"({"zone": "CET"})");
  EXPECT_EQ(first[5]["content"][0]["text"], "Done.");
}

TEST_F(ResponsesToolsContract, ACallThatIsCutShortSaysSo) {
  Serve();
  const std::string text = kTwoCalls.substr(0, kTwoCalls.find("Köln"));
  json body = ResponsesBody();
  Answer(text, v1::FINISH_REASON_LENGTH);
  const json whole = PostResponses(body);
  EXPECT_EQ(whole["status"], "incomplete");
  ASSERT_EQ(whole["output"].size(), 2u);
  EXPECT_EQ(whole["output"][0]["status"], "completed");
  EXPECT_EQ(whole["output"][1]["arguments"], "{\"city\": \"");
  EXPECT_EQ(whole["output"][1]["status"], "incomplete") << "its arguments are no JSON";
  Answer(text, v1::FINISH_REASON_LENGTH);
  body["stream"] = true;
  const std::vector<json> events = PostEvents("/v1/responses", body);
  EXPECT_EQ(events.back()["type"], "response.incomplete");
  EXPECT_EQ(OutputWithoutIds(events.back()["response"]), OutputWithoutIds(whole));
}

TEST_F(ResponsesToolsContract, ForcedCallsConstrainTheAnswer) {
  Serve();
  json body = ResponsesBody();
  Answer(kTwoCalls);
  body["tool_choice"] = "required";
  const json required = PostResponses(body);
  EXPECT_EQ(required["tool_choice"], "required");
  EXPECT_EQ(required["output"].size(), 3u);
  EXPECT_THAT(Grammar(), HasSubstr("\"weather"));
  EXPECT_THAT(Grammar(), HasSubstr("\"time"));
  EXPECT_THAT(Grammar(), HasSubstr(")*"));

  Answer(kTwoCalls);
  body["parallel_tool_calls"] = false;
  const json single = PostResponses(body);
  EXPECT_EQ(single["parallel_tool_calls"], false);
  EXPECT_EQ(single["output"].size(), 2u) << "reasoning and one call";
  EXPECT_THAT(Grammar(), Not(HasSubstr(")*")));

  Answer("Hm.</think>\n\n<｜tool▁calls▁begin｜>" + ToolCallText("time", "{}") +
         "<｜tool▁calls▁end｜>");
  body["tool_choice"] = {{"type", "function"}, {"name", "time"}};
  const json named = PostResponses(body);
  EXPECT_EQ(named["status"], "completed");
  EXPECT_EQ(named["output"][1]["arguments"], "{}");
  EXPECT_THAT(Grammar(), Not(HasSubstr("weather")));

  Answer(kTwoCalls);
  body["tool_choice"] = "none";
  const json none = PostResponses(body);
  ASSERT_EQ(none["output"].size(), 2u);
  EXPECT_EQ(none["output"][1]["type"], "message");
  EXPECT_THAT(none["output"][1]["content"][0]["text"].get<std::string>(), HasSubstr("weather"));
}

TEST_F(ResponsesToolsContract, StrictFunctionsConstrainTheAnswer) {
  Serve();
  json body = ResponsesBody();
  body["tools"][0]["strict"] = true;
  Answer(kTwoCalls);
  EXPECT_EQ(PostResponses(body)["status"], "completed");
  EXPECT_THAT(Grammar(), HasSubstr("root ::= text ("));
}

TEST_F(ResponsesToolsContract, ResultsGoBackThroughTheTemplate) {
  Serve();
  json body = ResponsesBody();
  Answer(kTwoCalls);
  const json first = PostResponses(body);
  json input = {{{"role", "user"}, {"content", body["input"]}}};
  for (const json& item : first["output"]) input.push_back(item);
  input.push_back({{"type", "function_call_output"},
                   {"call_id", first["output"][1]["call_id"]},
                   {"output", "12 degrees"}});
  input.push_back({{"type", "function_call_output"},
                   {"call_id", first["output"][2]["call_id"]},
                   {"output", {{{"type", "input_text"}, {"text", "noon"}}}}});
  body["input"] = input;
  Answer("12 degrees at noon");
  const json second = PostResponses(body);
  ASSERT_EQ(second["output"].size(), 1u);
  EXPECT_EQ(second["output"][0]["content"][0]["text"], "12 degrees at noon");
  EXPECT_THAT(Prompt(1), HasSubstr(ToolCallText("weather", R"({"city": "Köln"})") + "\n" +
                                   ToolCallText("time", R"({"zone": "CET"})")))
      << "calls of one turn";
  EXPECT_THAT(Prompt(1), HasSubstr("<｜tool▁output▁begin｜>12 degrees<｜tool▁output▁end｜>\n"
                                   "<｜tool▁output▁begin｜>noon<｜tool▁output▁end｜>"));
  EXPECT_THAT(Prompt(1), Not(HasSubstr("Look both up."))) << "reasoning is of its own turn";
}

TEST_F(ResponsesToolsContract, WrongToolTurnsNameTheirField) {
  Serve();
  const auto refused = [&](const json& patch, const std::string& field) {
    json body = ResponsesBody();
    body.merge_patch(patch);
    EXPECT_EQ(PostResponses(body, 400)["error"]["param"], field) << patch;
  };
  refused({{"tools", {{{"type", "web_search"}}}}}, "tools[0].type");
  refused({{"tool_choice", "some"}}, "tool_choice");
  refused({{"tool_choice", {{"type", "function"}, {"name", "other"}}}}, "tool_choice");
  refused({{"tool_choice", "required"}, {"tools", nullptr}}, "tool_choice");
  refused({{"input", {{{"type", "function_call_output"}, {"call_id", "c"}, {"output", 5}}}}},
          "input[0].output");
  refused({{"input", {{{"type", "web_search_call"}}}}}, "input[0].type");
  EXPECT_TRUE(scheduler().requests().empty());
}

}  // namespace
}  // namespace baton::gateway
