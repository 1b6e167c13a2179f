// A gateway that serves with a template for tools, for contract tests of tool turns in every API.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"

#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {

// A call as the model writes it; `arguments` is JSON.
inline std::string ToolCallText(const std::string& name, const std::string& arguments) {
  return "<｜tool▁call▁begin｜>function<｜tool▁sep｜>" + name + "\n```json\n" + arguments +
         "\n```<｜tool▁call▁end｜>";
}

// An answer with reasoning and calls of `weather` and `time`.
inline const std::string kTwoCalls = "Look both up.</think>\n\n<｜tool▁calls▁begin｜>" +
                                     ToolCallText("weather", R"({"city": "Köln"})") + "\n" +
                                     ToolCallText("time", R"({"zone": "CET"})") +
                                     "<｜tool▁calls▁end｜>";

// An answer with text before its calls, between them and behind them.
inline const std::string kTextAroundCalls =
    "Look it up.</think>First.\n<｜tool▁calls▁begin｜>" +
    ToolCallText("weather", R"({"city": "Köln"})") + "<｜tool▁calls▁end｜>\nThen." +
    "<｜tool▁calls▁begin｜>" + ToolCallText("time", R"({"zone": "CET"})") +
    "<｜tool▁calls▁end｜>\nDone.";

// How many tokens come from the scheduler at a time: an answer in any of these cuts is the same.
inline constexpr uint32_t kCuts[] = {1, 2, 3, 5, 8, 13, 30, 1000};

// The kinds of events in order, each run of one kind once.
inline std::vector<std::string> TypesOf(const std::vector<nlohmann::json>& events) {
  std::vector<std::string> types;
  for (const nlohmann::json& event : events) {
    const std::string type = event["type"];
    if (types.empty() || types.back() != type) types.push_back(type);
  }
  return types;
}

class ToolsFixture : public GatewayFixture {
 protected:
  void Serve(const std::function<void(GatewayConfig&)>& adjust = nullptr,
             const FakeSchedulerOptions& fake_options = {}) {
    StartGateway(
        [&](GatewayConfig& config) {
          config.model.chat_template_path = std::string(BATON_SOURCE_DIR) + kToolTemplate;
          if (adjust) adjust(config);
        },
        fake_options);
    AwaitReady(200);
  }
  nlohmann::json PostJson(const std::string& path, const nlohmann::json& body, int status = 200) {
    const TestHttpResponse response = Post(path, body);
    EXPECT_EQ(response.status, status) << response.body;
    return nlohmann::json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  }
  // The events of a stream whose events have names: the name must be the data's own type.
  std::vector<nlohmann::json> PostEvents(const std::string& path, const nlohmann::json& body) {
    const TestHttpResponse response = Post(path, body);
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_TRUE(response.complete);
    std::vector<nlohmann::json> events;
    for (const std::string& data : response.Events()) {
      events.push_back(nlohmann::json::parse(data));
      const std::string type = events.back()["type"];
      EXPECT_THAT(response.body, testing::HasSubstr(absl::StrCat("event: ", type, "\n")));
    }
    return events;
  }
  // What the model was given in the `index`-th request.
  std::string Prompt(size_t index) {
    const v1::SubmitRequest ids = scheduler().requests().at(index);
    return Text({ids.prompt_token_ids().begin(), ids.prompt_token_ids().end()});
  }
  // What the newest answer is constrained to.
  std::string Grammar() {
    return scheduler().requests().back().sampling().structured_output().text();
  }

 private:
  static constexpr char kToolTemplate[] = "/manifests/chat_templates/deepseek_r1_tools.jinja";
};

// A chat in which `weather` and `time` may be called.
inline nlohmann::json ToolBody() {
  const nlohmann::json parameters = {{"type", "object"},
                                     {"properties", {{"city", {{"type", "string"}}}}}};
  return {{"model", "tiny-r1"},
          {"messages", {{{"role", "user"}, {"content", "How is it in Köln?"}}}},
          {"tools",
           {{{"type", "function"}, {"function", {{"name", "weather"}, {"parameters", parameters}}}},
            {{"type", "function"}, {"function", {{"name", "time"}}}}}}};
}

class ChatToolsFixture : public ToolsFixture {
 protected:
  nlohmann::json PostTools(const nlohmann::json& body, int status = 200) {
    return PostJson("/v1/chat/completions", body, status);
  }
};

}  // namespace baton::gateway
