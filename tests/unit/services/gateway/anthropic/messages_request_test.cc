#include "services/gateway/anthropic/messages_request.h"

#include <string>

#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {
namespace {

const Json kQuestion = {{"role", "user"}, {"content", "6 x 7?"}};

// A body with these members beside what each needs.
std::string MessagesText(const Json& members) {
  Json body = {{"max_tokens", 50}, {"messages", Json::array({kQuestion})}};
  body.update(members);
  return DumpJson(body);
}

Json ChatOf(const Json& members) {
  const auto chat = ChatOfMessages(MessagesText(members), MessagesUse::kAnswer);
  EXPECT_TRUE(chat.ok()) << chat.status();
  return chat.ok() ? chat->chat : Json();
}

std::string FieldRefusedIn(const Json& members) {
  const auto chat = ChatOfMessages(MessagesText(members), MessagesUse::kAnswer);
  EXPECT_FALSE(chat.ok()) << members;
  return RefusedField(chat.status());
}

Json TurnsOf(const Json& turns) { return ChatOf({{"messages", turns}})["messages"]; }

TEST(MessagesRequest, OnlyAnAnswerNeedsABound) {
  const std::string body = DumpJson({{"messages", Json::array({kQuestion})}});
  const auto answer = ChatOfMessages(body, MessagesUse::kAnswer);
  EXPECT_EQ(RefusedField(answer.status()), "max_tokens");
  EXPECT_TRUE(ChatOfMessages(body, MessagesUse::kCount).ok());
}

TEST(MessagesRequest, TheSystemPromptIsTheFirstMessage) {
  const Json system = {{"role", "system"}, {"content", "Be short.\nBe kind."}};
  const Json expected = Json::array({system, kQuestion});
  EXPECT_EQ(ChatOf({{"system", "Be short.\nBe kind."}})["messages"], expected);
  const Json blocks = {{{"type", "text"}, {"text", "Be short."}},
                       {{"type", "text"}, {"text", "Be kind."}}};
  EXPECT_EQ(ChatOf({{"system", blocks}})["messages"], expected);
}

TEST(MessagesRequest, SamplingHasTheSameNamesButForStops) {
  const Json chat =
      ChatOf({{"model", "m"}, {"temperature", 0.5}, {"top_k", 3}, {"stop_sequences", {"END"}}});
  EXPECT_EQ(chat["max_tokens"], 50);
  EXPECT_EQ(chat["model"], "m");
  EXPECT_EQ(chat["temperature"], 0.5);
  EXPECT_EQ(chat["top_k"], 3);
  EXPECT_EQ(chat["stop"], Json::array({"END"}));
  EXPECT_FALSE(chat.contains("stop_sequences"));
}

TEST(MessagesRequest, BlocksOfAnAssistantAreOneMessage) {
  const Json call = {{"type", "tool_use"}, {"id", "t1"}, {"name", "look"}, {"input", {{"at", 1}}}};
  const Json blocks = Json::array({{{"type", "thinking"}, {"thinking", "Hm."}, {"signature", ""}},
                                   {{"type", "text"}, {"text", "Let me "}},
                                   {{"type", "text"}, {"text", "look."}},
                                   call});
  const Json turns =
      TurnsOf(Json::array({kQuestion, {{"role", "assistant"}, {"content", blocks}}}));
  ASSERT_EQ(turns.size(), 2u);
  EXPECT_EQ(turns[1]["role"], "assistant");
  EXPECT_EQ(turns[1]["content"], "Let me look.");
  EXPECT_EQ(turns[1]["reasoning_content"], "Hm.");
  ASSERT_EQ(turns[1]["tool_calls"].size(), 1u);
  EXPECT_EQ(turns[1]["tool_calls"][0]["id"], "t1");
  EXPECT_EQ(turns[1]["tool_calls"][0]["function"],
            (Json{{"name", "look"}, {"arguments", R"({"at":1})"}}));
}

TEST(MessagesRequest, ThoughtsOfATurnAreOneReasoning) {
  const Json blocks = Json::array({{{"type", "thinking"}, {"thinking", "Hm. "}},
                                   {{"type", "text"}, {"text", "A"}},
                                   {{"type", "thinking"}, {"thinking", "Yes."}}});
  const Json turns =
      TurnsOf(Json::array({kQuestion, {{"role", "assistant"}, {"content", blocks}}}));
  EXPECT_EQ(turns[1]["reasoning_content"], "Hm. Yes.");
}

TEST(MessagesRequest, AnAssistantThatOnlyThoughtSaidNothing) {
  const Json blocks = Json::array({{{"type", "thinking"}, {"thinking", "Hm."}}});
  const Json turns =
      TurnsOf(Json::array({kQuestion, {{"role", "assistant"}, {"content", blocks}}}));
  EXPECT_EQ(turns[1]["content"], "");
  EXPECT_FALSE(turns[1].contains("tool_calls"));
}

TEST(MessagesRequest, ResultsOfToolsComeBeforeTheUsersText) {
  const Json texts =
      Json::array({{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}});
  const Json blocks = Json::array(
      {{{"type", "text"}, {"text", "And now?"}},
       {{"type", "tool_result"}, {"tool_use_id", "t1"}, {"content", "12"}},
       {{"type", "tool_result"}, {"tool_use_id", "t2"}, {"content", texts}, {"is_error", false}},
       {{"type", "tool_result"}, {"tool_use_id", "t3"}}});
  EXPECT_EQ(TurnsOf(Json::array({{{"role", "user"}, {"content", blocks}}})),
            Json::array({{{"role", "tool"}, {"tool_call_id", "t1"}, {"content", "12"}},
                         {{"role", "tool"}, {"tool_call_id", "t2"}, {"content", "a\nb"}},
                         {{"role", "tool"}, {"tool_call_id", "t3"}, {"content", ""}},
                         {{"role", "user"}, {"content", "And now?"}}}));
}

TEST(MessagesRequest, AResultThatIsAnErrorSaysSo) {
  const auto result = [](const Json& members) {
    Json block = {{"type", "tool_result"}, {"tool_use_id", "t"}, {"is_error", true}};
    block.update(members);
    const Json turn = {{"role", "user"}, {"content", Json::array({block})}};
    return TurnsOf(Json::array({turn}))[0]["content"];
  };
  EXPECT_EQ(result({{"content", "no such file"}}), "Error: no such file");
  EXPECT_EQ(result(Json::object()), "Error");
  EXPECT_EQ(result({{"content", "12"}, {"is_error", nullptr}}), "12");
}

TEST(MessagesRequest, ToolsAreFunctions) {
  const Json schema = {{"type", "object"}};
  const Json look = {{"name", "look"}, {"description", "Looks."}, {"input_schema", schema}};
  const Json wait = {{"type", "custom"}, {"name", "wait"}};
  const Json tools = ChatOf({{"tools", Json::array({look, wait})}})["tools"];
  ASSERT_EQ(tools.size(), 2u);
  EXPECT_EQ(tools[0]["type"], "function");
  EXPECT_EQ(tools[0]["function"],
            (Json{{"name", "look"}, {"description", "Looks."}, {"parameters", schema}}));
  EXPECT_EQ(tools[1]["function"], (Json{{"name", "wait"}}));
  EXPECT_FALSE(ChatOf({{"tools", Json::array()}}).contains("tools"));
}

TEST(MessagesRequest, ChoicesOfToolsHaveCounterparts) {
  const auto choice = [](const Json& theirs) { return ChatOf({{"tool_choice", theirs}}); };
  EXPECT_EQ(choice({{"type", "auto"}})["tool_choice"], "auto");
  EXPECT_EQ(choice({{"type", "none"}})["tool_choice"], "none");
  EXPECT_EQ(choice({{"type", "any"}})["tool_choice"], "required");
  EXPECT_EQ(choice({{"type", "tool"}, {"name", "look"}})["tool_choice"],
            (Json{{"type", "function"}, {"function", {{"name", "look"}}}}));
  const Json single = choice({{"type", "any"}, {"disable_parallel_tool_use", true}});
  EXPECT_EQ(single["parallel_tool_calls"], false);
  EXPECT_FALSE(choice({{"type", "any"}}).contains("parallel_tool_calls"));
}

TEST(MessagesRequest, RefusalsNameTheField) {
  const auto turn = [](const char* role, const Json& content) {
    return Json{{"messages", Json::array({{{"role", role}, {"content", content}}})}};
  };
  EXPECT_EQ(FieldRefusedIn({{"messages", Json::array()}}), "messages");
  EXPECT_EQ(FieldRefusedIn(turn("wizard", "x")), "messages[0].role");
  EXPECT_EQ(FieldRefusedIn(turn("assistant", Json::array({{{"type", "image"}}}))),
            "messages[0].content[0]");
  EXPECT_EQ(FieldRefusedIn(turn("user", 5)), "messages[0].content");
  Json result = {{"type", "tool_result"}, {"tool_use_id", "t"}, {"content", "12"}};
  EXPECT_EQ(FieldRefusedIn(turn("user", Json::array({result, {{"type", "image"}}}))),
            "messages[0].content[1]");
  result["is_error"] = "yes";
  EXPECT_EQ(FieldRefusedIn(turn("user", Json::array({result}))), "messages[0].content[0].is_error");
  EXPECT_EQ(FieldRefusedIn({{"system", 5}}), "system");
  const Json bash = {{"type", "bash_20250124"}, {"name", "bash"}};
  EXPECT_EQ(FieldRefusedIn({{"tools", Json::array({bash})}}), "tools[0]");
  EXPECT_EQ(FieldRefusedIn({{"tool_choice", {{"type", "some"}}}}), "tool_choice.type");
  EXPECT_EQ(FieldRefusedIn({{"thinking", {{"type", "some"}}}}), "thinking.type");
}

TEST(MessagesRequest, ThinkingAndTheTemplatesArgumentsMustNotContradict) {
  const auto body = [](const char* type, const Json& arguments) {
    return Json{{"thinking", {{"type", type}}}, {"chat_template_kwargs", arguments}};
  };
  for (const char* name : {"thinking", "enable_thinking"}) {
    EXPECT_EQ(FieldRefusedIn(body("disabled", {{name, true}})), "chat_template_kwargs");
    EXPECT_EQ(FieldRefusedIn(body("enabled", {{name, false}})), "chat_template_kwargs");
    ChatOf(body("disabled", {{name, false}}));
    ChatOf(body("enabled", {{name, true}}));
    ChatOf(body("adaptive", {{name, false}}));
  }
  ChatOf(body("disabled", {{"other", true}}));
}

}  // namespace
}  // namespace baton::gateway
