#include "common/chat_template/chat_template.h"

#include <fstream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace baton {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

const std::string kData = BATON_SOURCE_DIR "/tests/data/";

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

std::string Render(absl::string_view source, const Json& context = Json::object()) {
  const auto chat_template = ChatTemplate::Create(source);
  if (!chat_template.ok()) return std::string(chat_template.status().message());
  const auto text = (*chat_template)->Render(context);
  return text.ok() ? *text : std::string(text.status().message());
}

absl::Status RenderStatus(absl::string_view source, const Json& context = Json::object()) {
  const auto chat_template = ChatTemplate::Create(source);
  return chat_template.ok() ? (*chat_template)->Render(context).status() : chat_template.status();
}

TEST(ChatTemplate, RendersAConversationOfR1) {
  const Json context = {{"bos_token", "<｜begin▁of▁sentence｜>"},
                        {"add_generation_prompt", true},
                        {"messages",
                         {{{"role", "system"}, {"content", "Be brief."}},
                          {{"role", "user"}, {"content", "Hi"}},
                          {{"role", "assistant"}, {"content", "<think>\nhm\n</think>\n\nHello"}},
                          {{"role", "user"}, {"content", "What is 17 + 25?"}}}}};
  EXPECT_EQ(Render(ReadAll(kData + "deepseek-r1/chat_template.jinja"), context),
            "<｜begin▁of▁sentence｜>Be brief.<｜User｜>Hi<｜Assistant｜>\n\nHello"
            "<｜end▁of▁sentence｜><｜User｜>What is 17 + 25?<｜Assistant｜><think>\n");
}

// The template asks for either name, and prints no tools.
TEST(ChatTemplate, RendersAConversationOfV31) {
  const std::string source = ReadAll(kData + "chat_templates/deepseek-v3.1.jinja");
  Json context = {{"bos_token", "<b>"},
                  {"add_generation_prompt", true},
                  {"tools", {{{"function", {{"name", "f"}, {"parameters", Json::object()}}}}}},
                  {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  EXPECT_EQ(Render(source, context), "<b><｜User｜>Hi<｜Assistant｜></think>");
  context["enable_thinking"] = true;
  EXPECT_EQ(Render(source, context), "<b><｜User｜>Hi<｜Assistant｜><think>");
  context["thinking"] = false;
  EXPECT_EQ(Render(source, context), "<b><｜User｜>Hi<｜Assistant｜></think>");
}

// As Llama 3.1 writes calls of its own tools.
TEST(ChatTemplate, RendersACallOfABuiltInToolOfLlama31) {
  const Json call = {{"function", {{"name", "search"}, {"arguments", {{"q", "a"}, {"n", "b"}}}}}};
  const Json context = {
      {"bos_token", "<b>"},
      {"date_string", "today"},
      {"builtin_tools", {"search", "code_interpreter"}},
      {"messages", {{{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {call}}}}}};
  EXPECT_EQ(Render(ReadAll(kData + "chat_templates/llama-3.1.jinja"), context),
            "<b><|start_header_id|>system<|end_header_id|>\n\nEnvironment: test\n"
            "Tools: search\n\nDate: today\n\n<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
            "<|python_tag|>search.call(q=\"a\", n=\"b\")<|eom_id|>");
}

TEST(ChatTemplate, FollowsJinjasWhitespaceControl) {
  EXPECT_EQ(Render("a\n  {% if true %}\n  b\n  {% endif %}\nc"), "a\n  b\nc");
  EXPECT_EQ(Render("a  {%- if true -%}  b  {%- endif %} c"), "ab c");
  EXPECT_EQ(Render("  {%+ if true +%}\nx{% endif %}"), "  \nx");
  EXPECT_EQ(Render("a {# note #}\nb\n"), "a b");
}

TEST(ChatTemplate, ScopesNamesLikeJinja) {
  EXPECT_EQ(Render("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}"), "1");
  EXPECT_EQ(Render("{% set n = namespace(x=1) %}{% for i in [1] %}{% set n.x = 2 %}{% endfor %}"
                   "{{ n.x }}"),
            "2");
  EXPECT_EQ(Render("{% set x = 1 %}{% macro m(a, b=2) %}{{ x }}{{ a }}{{ b }}{% endmacro %}"
                   "{% for y in [7] %}{{ m(y) }}{{ m(b=y, a=0) }}{% endfor %}"),
            "172107");
}

TEST(ChatTemplate, PrintsUndefinedAsNothingAndRefusesItsUse) {
  EXPECT_EQ(Render("[{{ x }}{{ {}.y }}{% for i in x %}{% endfor %}]"), "[]");
  EXPECT_THAT(Render("{{ x.y }}"), HasSubstr("'x' is undefined"));
  EXPECT_THAT(Render("{{ 'a' + x }}"), HasSubstr("'x' is undefined"));
}

TEST(ChatTemplate, WritesJsonInTheOrderOfTheRequest) {
  EXPECT_EQ(Render("{{ x | tojson }}", Json::parse(R"({"x": {"b": 1, "a": ["é", null, 0.5]}})")),
            R"({"b": 1, "a": ["é", null, 0.5]})");
}

TEST(ChatTemplate, NamesTheLineOfAnError) {
  EXPECT_THAT(Render("a\n{% if %}"), HasSubstr("line 2"));
  EXPECT_THAT(Render("a\n\n{{ 1 + 'x' }}"), HasSubstr("line 3"));
  EXPECT_THAT(Render("{% for %}"), HasSubstr("line 1"));
}

TEST(ChatTemplate, PassesTheMessageOfRaiseExceptionOn) {
  const absl::Status status = RenderStatus("\n{{ raise_exception('Roles must alternate') }}");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "chat template: line 2: Roles must alternate");
}

TEST(ChatTemplate, RefusesWhatIsOutsideTheSubset) {
  for (const char* source :
       {"{% include 'x' %}", "{% extends 'x' %}", "{{ x | eval }}", "{{ x is strange }}", "{{ x",
        "{% if x %}", "{% endif %}", "{{ (1 }}", "{{ 'x }}", "{# x", "{{ 1 ~ }}", "{{ f(*x) }}",
        "{% break %}", "{% set loop = 1 %}", "{{ 99999999999999999999 }}", "{{ '\\ud800' }}",
        "{{ a ? b }}", "\xFF"}) {
    EXPECT_EQ(ChatTemplate::Create(source).status().code(), absl::StatusCode::kInvalidArgument)
        << source;
  }
}

TEST(ChatTemplate, ReachesNothingOfTheHost) {
  for (const char* source :
       {"{{ ''.__class__ }}", "{{ x.__init__.__globals__ }}", "{{ {}.__class__.__mro__ }}"}) {
    EXPECT_TRUE(Render(source) == "" || !RenderStatus(source).ok()) << source;
  }
  EXPECT_FALSE(RenderStatus("{{ [1].append(2) }}").ok());
  EXPECT_FALSE(RenderStatus("{{ {}.update(a=1) }}").ok());
}

TEST(ChatTemplateLimits, BoundNesting) {
  const auto repeat = [](const std::string& unit) {
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += unit;
    return text;
  };
  for (const char* unit : {"(", "[", "{% if x %}", "{% for i in x %}", "not ", "-", "x.y(",
                           "{'a':", "x if ", "{% set y %}"}) {
    const std::string tag = unit[1] == '%' ? repeat(unit) : "{{ " + repeat(unit);
    const absl::Status status = ChatTemplate::Create(tag, {.source_bytes = 10 << 20}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << unit;
  }
  for (const char* unit : {"|trim", ".a", "[0]", "()", " is none"}) {
    const absl::Status status = ChatTemplate::Create("{{ x" + repeat(unit) + " }}").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << unit;
  }
  EXPECT_TRUE(ChatTemplate::Create("{{ 1" + repeat(" + 1") + " }}").ok());
}

TEST(ChatTemplateLimits, BoundTheSource) {
  EXPECT_FALSE(ChatTemplate::Create(std::string((1 << 20) + 1, ' ')).ok());
}

TEST(ChatTemplateLimits, BoundSteps) {
  const char* const loop =
      "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
  EXPECT_EQ(RenderStatus(loop).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(RenderStatus("{{ range(999999999) }}").ok());
}

TEST(ChatTemplateLimits, BoundTextAndOutput) {
  const char* const doubling =
      "{% set n = namespace(x='abcdefgh') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}"
      "{% endfor %}";
  EXPECT_EQ(RenderStatus(doubling).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(RenderStatus("{{ 'a' * 9999999999 }}").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(RenderStatus("{{ [1] * 9999999999 }}").code(), absl::StatusCode::kResourceExhausted);
  const auto small =
      ChatTemplate::Create("{% for i in range(100) %}xx{% endfor %}", {.output_bytes = 100});
  EXPECT_EQ((*small)->Render(Json::object()).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(ChatTemplateLimits, BoundMacrosThatCallThemselves) {
  EXPECT_EQ(RenderStatus("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(ChatTemplateLimits, BoundValuesInsideOneAnother) {
  EXPECT_FALSE(RenderStatus("{% set n = namespace(x=[]) %}{% for i in range(9999) %}"
                            "{% set n.x = [n.x] %}{% endfor %}{{ n.x }}")
                   .ok());
  EXPECT_FALSE(RenderStatus("{% set n = namespace() %}{% set n.x = n %}").ok());
  EXPECT_FALSE(RenderStatus("{% set n = namespace() %}{% set n.x = [n] %}").ok());
  Json deep = Json::array();
  for (int i = 0; i < 1000; ++i) deep = Json::array({deep});
  EXPECT_EQ(RenderStatus("{{ x }}", {{"x", deep}}).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton
