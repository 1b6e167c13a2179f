// Fields of /v1/messages and /v1/responses: each is honoured, or a 400 that names it as the client
// does; only those that nobody knows are ignored.
#include <fstream>
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
using testing::StartsWith;

const json kSchema = {{"type", "object"}, {"properties", {{"a", {{"type", "integer"}}}}}};

class TranslatedFieldsContract : public GatewayFixture {
 protected:
  void Serve(const std::string& chat_template = "") {
    StartGateway([&](GatewayConfig& config) { config.model.chat_template_path = chat_template; });
    AwaitReady(200);
  }
  // The answer to a question with these members.
  json Messages(const json& members, int status = 200) {
    json body = {{"max_tokens", 50}, {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
    body.update(members);
    return Ask("/v1/messages", body, status);
  }
  json Responses(const json& members, int status = 200) {
    json body = {{"input", "Hi"}};
    body.update(members);
    return Ask("/v1/responses", body, status);
  }
  std::string MessagesError(const json& members) {
    return Messages(members, 400)["error"]["message"];
  }
  // The field that a refusal names, if its text begins with it, too.
  std::string ResponsesError(const json& members) {
    const json error = Responses(members, 400)["error"];
    EXPECT_THAT(std::string(error["message"]), StartsWith(std::string(error["param"])));
    return error["param"];
  }
  v1::SubmitRequest Submitted() { return scheduler().requests().back(); }
  std::string Prompt() {
    const v1::SubmitRequest request = Submitted();
    return Text({request.prompt_token_ids().begin(), request.prompt_token_ids().end()});
  }

 private:
  json Ask(const std::string& path, const json& body, int status) {
    if (status == 200) Answer("</think>abc");
    const TestHttpResponse response = Post(path, body);
    EXPECT_EQ(response.status, status) << body << "\n" << response.body;
    return json::parse(response.body);
  }
};

TEST_F(TranslatedFieldsContract, MessagesKeepToTheirOutputFormat) {
  Serve();
  const json format = {{"type", "json_schema"}, {"schema", kSchema}};
  for (const json& members :
       {json{{"output_format", format}}, json{{"output_config", {{"format", format}}}}}) {
    Messages(members);
    EXPECT_EQ(Submitted().sampling().structured_output().kind(),
              v1::StructuredOutput::KIND_JSON_SCHEMA);
    EXPECT_EQ(json::parse(Submitted().sampling().structured_output().text()), kSchema);
  }
  EXPECT_THAT(MessagesError({{"output_format", {{"type", "xml"}}}}),
              StartsWith("output_format.type "));
  const json unknown = {{"type", "json_schema"}, {"schema", {{"not", json::object()}}}};
  EXPECT_THAT(MessagesError({{"output_format", unknown}}),
              StartsWith("output_format is refused: "));
  EXPECT_THAT(MessagesError({{"output_config", {{"format", unknown}}}}),
              StartsWith("output_config.format is refused: "));
}

TEST_F(TranslatedFieldsContract, MessagesRefuseWhatTheyCannotHonour) {
  Serve();
  for (const json& members : std::vector<json>{
           {{"mcp_servers", {{{"name", "x"}}}}},
           {{"container", "c"}},
           {{"context_management", {{"edits", {{{"type", "clear_tool_uses_20250919"}}}}}}},
           {{"inference_geo", "us"}},
           {{"speed", "fast"}},
           {{"n", 2}},
           {{"logprobs", true}},
           {{"max_completion_tokens", 5}},
           {{"prompt_embeds", "x"}}}) {
    const std::string field = members.begin().key();
    EXPECT_THAT(MessagesError(members), StartsWith(field + " is not supported")) << members;
    Messages({{field, nullptr}});
  }
  EXPECT_THAT(MessagesError({{"output_config", {{"task_budget", {{"total", 5}}}}}}),
              StartsWith("output_config.task_budget is not supported"));
  Messages({{"mcp_servers", json::array()}, {"speed", "standard"}, {"n", 1}});
}

TEST_F(TranslatedFieldsContract, MessagesTakeWhatChatCompletionsTake) {
  Serve();
  Messages({{"min_p", 0.25}, {"logit_bias", {{"5", 10}}}, {"output_config", {{"effort", "low"}}}});
  EXPECT_FLOAT_EQ(Submitted().sampling().min_p(), 0.25f);
  EXPECT_EQ(Submitted().sampling().logit_bias_size(), 1);
  EXPECT_THAT(MessagesError({{"stop", "x"}, {"stop_sequences", {"y"}}}),
              StartsWith("stop cannot be given together with stop_sequences"));
}

TEST_F(TranslatedFieldsContract, MessagesErrorsNameTheirFields) {
  Serve();
  EXPECT_THAT(MessagesError({{"stop_sequences", {""}}}), StartsWith("stop_sequences "));
  EXPECT_THAT(MessagesError({{"stop_sequences", 5}}), StartsWith("stop_sequences "));
  EXPECT_THAT(MessagesError({{"thinking", {{"type", "enabled"}, {"budget_tokens", -2}}}}),
              StartsWith("thinking.budget_tokens "));
  EXPECT_THAT(MessagesError({{"tools", {{{"name", "a b"}}}}}), StartsWith("tools[0].name "));
  EXPECT_THAT(MessagesError({{"tools", {{{"name", "f"}, {"input_schema", 3}}}}}),
              StartsWith("tools[0].input_schema "));
  const json call = {{"type", "tool_use"}, {"id", "t"}, {"name", "a b"}, {"input", json::object()}};
  const json turns = {
      {{"role", "user"}, {"content", "x"}},
      {{"role", "assistant"}, {"content", {{{"type", "text"}, {"text", "y"}}, call}}}};
  EXPECT_THAT(MessagesError({{"system", "s"}, {"messages", turns}}),
              StartsWith("messages[1].content[1].name "));
}

TEST_F(TranslatedFieldsContract, ThinkingThatIsOffEndsAtOnce) {
  Serve();
  const json message = Messages({{"thinking", {{"type", "disabled"}}}});
  EXPECT_THAT(Prompt(), EndsWith("<think>\n"));
  ASSERT_TRUE(Submitted().sampling().has_reasoning_budget());
  EXPECT_EQ(Submitted().sampling().reasoning_budget().num_tokens(), 0u);
  EXPECT_EQ(message["content"].size(), 1u);
}

TEST_F(TranslatedFieldsContract, ThinkingThatIsOffIsTheTemplatesToClose) {
  // One that thinks unless it is told not to.
  const std::string path = testing::TempDir() + "/gateway_thinking_contract.jinja";
  std::ofstream(path) << "{% for m in messages %}<｜User｜>{{ m['content'] }}{% endfor %}"
                         "<｜Assistant｜><think>\n{% if enable_thinking is defined and not "
                         "enable_thinking %}\n</think>{% endif %}";
  Serve(path);
  Messages({{"thinking", {{"type", "disabled"}}}});
  EXPECT_THAT(Prompt(), EndsWith("</think>"));
  Messages(json::object());
  EXPECT_THAT(Prompt(), EndsWith("<think>\n"));
}

TEST_F(TranslatedFieldsContract, ResponsesTakeWhatChatCompletionsTake) {
  Serve();
  const json answer = Responses({{"stop", "b"},
                                 {"logit_bias", {{"5", 10}}},
                                 {"presence_penalty", 0.5},
                                 {"frequency_penalty", 0.25},
                                 {"min_p", 0.125},
                                 {"structured_outputs", {{"regex", "[a-c]+"}}}});
  EXPECT_EQ(answer["output"][0]["content"][0]["text"], "a");
  const v1::SamplingParams sampling = Submitted().sampling();
  EXPECT_EQ(sampling.logit_bias_size(), 1);
  EXPECT_FLOAT_EQ(sampling.presence_penalty(), 0.5f);
  EXPECT_FLOAT_EQ(sampling.frequency_penalty(), 0.25f);
  EXPECT_FLOAT_EQ(sampling.min_p(), 0.125f);
  EXPECT_EQ(sampling.structured_output().kind(), v1::StructuredOutput::KIND_REGEX);
  Responses({{"guided_choice", {"abc"}}});
  EXPECT_EQ(Submitted().sampling().structured_output().kind(), v1::StructuredOutput::KIND_CHOICE);
  EXPECT_EQ(ResponsesError({{"chat_template_kwargs", 5}}), "chat_template_kwargs");
}

TEST_F(TranslatedFieldsContract, ResponsesRefuseWhatTheyCannotHonour) {
  Serve();
  for (const json& members : std::vector<json>{{{"top_logprobs", 3}},
                                               {{"background", true}},
                                               {{"n", 2}},
                                               {{"include_reasoning", false}},
                                               {{"max_tokens", 5}},
                                               {{"prompt_embeds", "x"}},
                                               {{"stream_options", {{"include_usage", true}}}}}) {
    const std::string field = members.begin().key();
    EXPECT_EQ(ResponsesError(members), field);
    Responses({{field, nullptr}});
  }
  EXPECT_EQ(ResponsesError({{"text", {{"verbosity", "low"}}}}), "text.verbosity");
  EXPECT_EQ(ResponsesError({{"reasoning", {{"summary", "detailed"}}}}), "reasoning.summary");
  Responses({{"text", {{"verbosity", "medium"}}}, {"reasoning", {{"summary", "auto"}}}});
}

TEST_F(TranslatedFieldsContract, ResponsesErrorsNameTheirFields) {
  Serve();
  EXPECT_EQ(ResponsesError({{"max_output_tokens", 0}}), "max_output_tokens");
  EXPECT_EQ(ResponsesError({{"max_output_tokens", "x"}}), "max_output_tokens");
  EXPECT_EQ(ResponsesError({{"reasoning", {{"effort", "extreme"}}}}), "reasoning.effort");
  EXPECT_EQ(ResponsesError({{"text", {{"format", {{"type", "xml"}}}}}}), "text.format");
  EXPECT_EQ(ResponsesError({{"tools", {{{"type", "function"}, {"name", "a b"}}}}}),
            "tools[0].name");
  const json call = {{"type", "function_call"}, {"name", "a b"}, {"call_id", "c"}};
  EXPECT_EQ(ResponsesError({{"instructions", "s"}, {"input", {call}}}), "input[0].name");
  EXPECT_EQ(
      ResponsesError({{"instructions", "s"}, {"input", {{{"role", "elder"}, {"content", "x"}}}}}),
      "input[0].role");
  const json both = {{"text", {{"format", {{"type", "json_object"}}}}}, {"guided_regex", "a"}};
  EXPECT_THAT(std::string(Responses(both, 400)["error"]["message"]), HasSubstr("text.format"));
  std::string words;
  while (words.size() < 20000) words += "one 7 ";
  EXPECT_EQ(Responses({{"input", words}}, 400)["error"]["param"], "input");
}

TEST_F(TranslatedFieldsContract, EmptyValuesAreNoLeaveToBeOfAWrongType) {
  Serve();
  for (const json& members : std::vector<json>{{{"n", json::array()}},
                                               {{"echo", json::object()}},
                                               {{"speed", json::object()}},
                                               {{"container", json::array()}}}) {
    EXPECT_THAT(MessagesError(members), StartsWith(members.begin().key())) << members;
  }
  for (const json& members : std::vector<json>{{{"n", json::array()}},
                                               {{"echo", json::object()}},
                                               {{"background", json::array()}},
                                               {{"truncation", json::object()}},
                                               {{"max_tool_calls", json::array()}}}) {
    EXPECT_EQ(ResponsesError(members), members.begin().key());
  }
  Responses({{"include", json::array()}});
}

TEST_F(TranslatedFieldsContract, AUserHasItsLimit) {
  Serve();
  const std::string user(513, 'u');
  EXPECT_THAT(MessagesError({{"user", user}}), StartsWith("user is longer than"));
  EXPECT_EQ(ResponsesError({{"user", user}}), "user");
  EXPECT_EQ(Responses({{"user", user.substr(1)}})["user"], user.substr(1));
}

TEST_F(TranslatedFieldsContract, OnlyUnknownFieldsAreIgnoredAndAreLogged) {
  Serve();
  SetMinLogLevel(LogLevel::kDebug);
  testing::internal::CaptureStderr();
  Messages({{"no_such_field", 1}, {"metadata", {{"user_id", "u"}}}});
  Responses({{"no_such_field", 1}, {"store", true}});
  const std::string log = testing::internal::GetCapturedStderr();
  SetMinLogLevel(LogLevel::kInfo);
  EXPECT_THAT(log, HasSubstr("/v1/messages: ignored fields: no_such_field\n"));
  EXPECT_THAT(log, HasSubstr("/v1/responses: ignored fields: no_such_field\n"));
}

}  // namespace
}  // namespace baton::gateway
