// Strict functions in /v1/chat/completions: what binds their arguments, and what if nothing can.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/contract/gateway/tools_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class StrictContract : public ChatToolsFixture {
 protected:
  // A request in which `time` is strict, too, and weather's schema is `parameters`.
  static json Strict(const json& parameters) {
    json request = ToolBody();
    request["tools"][0]["function"].update({{"strict", true}, {"parameters", parameters}});
    request["tools"][1]["function"].update({{"strict", true}, {"parameters", kZone}});
    return request;
  }
  // What comes back for it, in its header and as the answer's grammar.
  std::string Unkept(const json& request) {
    Answer("Hm.</think>It rains.");
    const TestHttpResponse response = Post("/v1/chat/completions", request);
    EXPECT_EQ(response.status, 200) << response.body;
    if (response.status != 200) return response.body;
    return response.Header("X-Baton-Not-Strict");
  }

  static inline const json kZone = {{"type", "object"},
                                    {"properties", {{"zone", {{"type", "string"}}}}}};
  static inline const json kNever = {{"type", "object"},
                                     {"properties", {{"city", {{"not", {{"type", "string"}}}}}}}};
};

TEST_F(StrictContract, StrictFunctionsAreCalledByTheirSchemasIfTheModelCalls) {
  Serve();
  const auto output = [this](const json& strict, const json& members = json::object()) {
    json request = ToolBody();
    request.update(members);
    request["tools"][0]["function"]["strict"] = strict;
    Answer("Hm.</think>It rains.");
    EXPECT_EQ(PostTools(request)["choices"][0]["message"]["content"], "It rains.");
    return scheduler().requests().back().sampling().structured_output();
  };
  const v1::StructuredOutput strict = output(true);
  EXPECT_EQ(strict.kind(), v1::StructuredOutput::KIND_GRAMMAR);
  EXPECT_EQ(strict.begin_after_token_id(), Tokens("</think>").front());
  EXPECT_THAT(strict.text(), StartsWith("root ::= text ("));
  EXPECT_THAT(strict.text(), HasSubstr(R"("city")"));
  EXPECT_THAT(strict.text(), HasSubstr(R"(%json {"type":"object"} )"));  // time, which is not
  const std::string another_call = R"(("\n"? <[)";
  EXPECT_THAT(strict.text(), HasSubstr(another_call));
  EXPECT_THAT(output(true, {{"parallel_tool_calls", false}}).text(), Not(HasSubstr(another_call)));
  for (const json& not_strict : {json(false), json(nullptr)}) {
    EXPECT_EQ(output(not_strict).kind(), v1::StructuredOutput::KIND_UNSPECIFIED) << not_strict;
  }
  EXPECT_EQ(output(true, {{"tool_choice", "none"}}).kind(), v1::StructuredOutput::KIND_UNSPECIFIED);
  // A text that has to look another way has no place for calls.
  const json other = {{"response_format", {{"type", "json_object"}}}};
  EXPECT_EQ(output(true, other).kind(), v1::StructuredOutput::KIND_JSON_OBJECT);
}

TEST_F(StrictContract, WhatCannotBeKeptBindsNothingIfTheModelMayChoose) {
  Serve();
  EXPECT_EQ(Unkept(Strict(kZone)), "");
  EXPECT_THAT(Grammar(), Not(HasSubstr(R"({"type":"object"})")));
  for (const json& schema : {kNever, json({{"type", "string"}})}) {
    EXPECT_EQ(Unkept(Strict(schema)), "weather") << schema;
    EXPECT_THAT(Grammar(), HasSubstr(R"(%json {"type":"object"} )")) << schema;
    EXPECT_THAT(Grammar(), HasSubstr(R"("zone")")) << "the other one's is kept";
  }
  // Where none is left, nothing is bound.
  json request = Strict(kNever);
  request["tools"][1]["function"]["parameters"] = kNever;
  EXPECT_EQ(Unkept(request), "weather, time");
  EXPECT_EQ(Grammar(), "");
}

TEST_F(StrictContract, ALineNamesAllThatAreNotKeptWhereRequestsAreLogged) {
  json request = Strict(kNever);
  request["tools"][1]["function"]["parameters"] = {{"type", "string"}};
  for (const bool logged : {false, true}) {
    Serve([&](GatewayConfig& config) { config.log_requests = logged; });
    testing::internal::CaptureStderr();
    EXPECT_EQ(Unkept(request), "time, weather");
    const std::string log = testing::internal::GetCapturedStderr();
    const size_t line = log.find(": not called strictly: time, weather: tools[1].");
    EXPECT_EQ(line != std::string::npos, logged) << log;
    EXPECT_EQ(log.rfind("not called strictly"), logged ? line + 2 : std::string::npos) << log;
    StopGateway();
  }
}

TEST_F(StrictContract, SchemasThatAreTooLargeTogetherBindNothing) {
  Serve();
  json request = Strict(kZone);
  json& large = request["tools"][0]["function"]["parameters"];
  for (int i = 0; i < 60; ++i) {
    large["properties"]["p" + std::to_string(i)] = {{"type", "string"}, {"maxLength", 5000}};
  }
  EXPECT_EQ(Unkept(request), "weather");
  EXPECT_THAT(Grammar(), HasSubstr(R"("zone")"));
}

TEST_F(StrictContract, EachSchemaThatIsKeptHasItsBound) {
  Serve([](GatewayConfig& config) { config.caps.schema_bytes = 100; });
  json request = Strict(kZone);
  EXPECT_EQ(Unkept(request), "");
  request["tools"][0]["function"]["parameters"]["description"] = std::string(60, 'x');
  EXPECT_EQ(Unkept(request), "weather");
  EXPECT_THAT(Grammar(), HasSubstr(R"("zone")"));
  request["tool_choice"] = "required";
  const json error = PostTools(request, 400)["error"];
  EXPECT_EQ(error["param"], "tools[0].function.parameters");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("--max-schema-bytes"));
}

TEST_F(StrictContract, IsRefusedWhereCallsAreRequiredOrTheServerSaysSo) {
  Serve();
  json request = Strict(kNever);
  request["tool_choice"] = "required";
  EXPECT_EQ(PostTools(request, 400)["error"]["param"], "tools");
  StopGateway();
  Serve([](GatewayConfig& config) { config.model.refuses_unkept_strict = true; });
  const json error = PostTools(Strict(kNever), 400)["error"];
  EXPECT_EQ(error["param"], "tools");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("\"not\""));
  EXPECT_EQ(PostTools(Strict({{"type", "string"}}), 400)["error"]["param"],
            "tools[0].function.parameters");
  request["tools"][0]["function"]["strict"] = "yes";
  EXPECT_EQ(PostTools(request, 400)["error"]["param"], "tools[0].function.strict");
}

}  // namespace
}  // namespace baton::gateway
