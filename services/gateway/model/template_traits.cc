#include "services/gateway/model/template_traits.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "services/gateway/json/strict_json.h"
#include "services/gateway/text/deepseek_tool_parser.h"
#include "services/gateway/text/reasoning_parser.h"

namespace baton::gateway {
namespace {

constexpr char kToolName[] = "baton_probe_tool";
constexpr char kDocumentText[] = "baton_probe_document";
constexpr char kArguments[] = R"({"probe":1})";

Json Tools() {
  const Json function = {
      {"name", kToolName},
      {"description", "A probe."},
      {"parameters", {{"type", "object"}, {"properties", Json::object()}}},
  };
  return Json::array({{{"type", "function"}, {"function", function}}});
}

Json Documents() {
  Json documents = Json::array();
  Json& document = documents.emplace_back(Json::object());
  // What templates call the text of a document.
  for (const char* name : {"title", "text", "content", "contents", "doc_id"}) {
    document[name] = kDocumentText;
  }
  return documents;
}

Json Question() { return {{"role", "user"}, {"content", "Hello"}}; }

// A question, a call, what the tool said.
Json CallMessages(const Json& arguments) {
  const Json call = {{"id", "probe"},
                     {"type", "function"},
                     {"function", {{"name", kToolName}, {"arguments", arguments}}}};
  return Json::array({Question(),
                      {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {call}}},
                      {{"role", "tool"}, {"tool_call_id", "probe"}, {"content", "1"}}});
}

struct Probe {
  const ChatTemplate& chat_template;
  const Json& arguments;

  // Empty where the template refuses.
  std::string TextOf(const Json& messages, const Json& tools,
                     const Json& documents = nullptr) const {
    Json context = arguments;
    context.update({{"messages", messages},
                    {"add_generation_prompt", true},
                    {"bos_token", ""},
                    {"eos_token", ""}});
    if (!tools.is_null()) context["tools"] = tools;
    if (!documents.is_null()) context["documents"] = documents;
    return chat_template.Render(context).value_or("");
  }
};

ToolCallFormat FormatOf(const std::string& text) {
  using Parser = DeepSeekToolParser;
  const std::string begin(Parser::kCallBegin);
  if (absl::StrContains(text, absl::StrCat(begin, kToolName, Parser::kSeparator))) {
    return ToolCallFormat::kDeepSeekV31;
  }
  const std::string fenced = absl::StrCat(begin, "function", Parser::kSeparator, kToolName, "\n");
  return absl::StrContains(text, fenced) ? ToolCallFormat::kDeepSeekV3 : ToolCallFormat::kNone;
}

}  // namespace

TemplateTraits ProbeTemplate(const ChatTemplate& chat_template, const Json& arguments) {
  const Probe probe{chat_template, arguments};
  TemplateTraits traits;
  const Json question = Json::array({Question()});
  const std::string asked = probe.TextOf(question, nullptr);
  traits.opens_reasoning = PromptOpensReasoning(asked);
  traits.writes_reasoning_tags =
      absl::StrContains(asked, "<think>") || absl::StrContains(asked, "</think>");
  traits.shows_tools = absl::StrContains(probe.TextOf(question, Tools()), kToolName);
  traits.shows_documents =
      absl::StrContains(probe.TextOf(question, nullptr, Documents()), kDocumentText);
  std::string calls = probe.TextOf(CallMessages(kArguments), nullptr);
  if (!absl::StrContains(calls, kArguments)) {
    std::string values = probe.TextOf(CallMessages(Json::parse(kArguments)), nullptr);
    if (absl::StrContains(values, "probe\"")) {
      traits.takes_argument_text = false;
      calls = std::move(values);
    }
  }
  traits.calls = FormatOf(calls);
  return traits;
}

}  // namespace baton::gateway
