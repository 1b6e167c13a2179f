#include "services/gateway/anthropic/messages_fields.h"

namespace baton::gateway {
namespace {

constexpr RenamedField kRenamed[] = {
    {"model", "model"},   {"max_tokens", "max_tokens"},   {"stop_sequences", "stop"},
    {"stream", "stream"}, {"temperature", "temperature"}, {"top_p", "top_p"},
    {"top_k", "top_k"},
};

constexpr OwnField kOwn[] = {
    {"messages",
     R"({"type":"array","minItems":1,"items":{"type":"object","required":["role","content"],
         "properties":{"role":{"enum":["user","assistant"]},
           "content":{"anyOf":[{"type":"string"},{"type":"array","items":{"type":"object",
             "required":["type"],"properties":{"type":{"enum":["text","thinking",
               "redacted_thinking","tool_use","tool_result"]}}}}]}}}})",
     R"({"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]})"},
    {"system",
     R"({"anyOf":[{"type":"string"},{"type":"array","items":{"type":"object",
         "required":["type","text"],
         "properties":{"type":{"const":"text"},"text":{"type":"string"}}}}]})",
     R"({"system":[{"type":"text","text":"x"}]})"},
    {"tools",
     R"({"type":"array","items":{"type":"object","required":["name"],
         "properties":{"type":{"const":"custom"},"name":{"type":"string"},
           "description":{"type":"string"},"input_schema":{"type":"object"}}}})",
     R"({"tools":[{"type":"custom","name":"f","description":"x","input_schema":{}}]})"},
    {"tool_choice",
     R"({"type":"object","required":["type"],"properties":{
         "type":{"enum":["auto","any","tool","none"]},"name":{"type":"string"},
         "disable_parallel_tool_use":{"type":"boolean"}}})",
     R"({"tools":[{"name":"f"}],
         "tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true}})"},
    {"thinking",
     R"({"type":"object","required":["type"],"properties":{
         "type":{"enum":["enabled","disabled","adaptive"]},
         "budget_tokens":{"type":"integer","minimum":-1},
         "display":{"enum":["summarized","omitted"]}}})",
     R"({"thinking":{"type":"enabled","budget_tokens":5,"display":"omitted"}})"},
    {"output_config",
     R"({"type":"object","properties":{
         "effort":{"enum":["none","minimal","low","medium","high","xhigh","max"]},
         "format":{"type":"object","required":["type","schema"],
           "properties":{"type":{"const":"json_schema"},"schema":{"type":"object"}}}}})",
     R"({"output_config":{"effort":"low","format":{"type":"json_schema","schema":{}}}})"},
    {"output_format",
     R"({"type":"object","description":"former name of output_config.format",
         "required":["type","schema"],
         "properties":{"type":{"const":"json_schema"},"schema":{"type":"object"}}})",
     R"({"output_format":{"type":"json_schema","schema":{}}})"},
    {"cache_control", R"({"type":"object","description":"no answer depends on it"})",
     R"({"cache_control":{"type":"ephemeral"}})", /*ignored=*/true},
};

constexpr UnsupportedField kUnsupported[] = {
    {"mcp_servers", "[[]]", "it runs no tools of its own"},
    {"container", "[]", "it runs no tools of its own"},
    {"context_management", R"([{},{"edits":[]}])", "a conversation is taken as it is"},
    {"inference_geo", R"(["global"])", "it does not choose where it runs"},
    {"speed", R"(["standard"])"},
    {"max_completion_tokens", "[]", "use max_tokens"},
    {"stream_options", "[]", "usage is always there"},
    {"output_config.task_budget", "[]", "use max_tokens and thinking.budget_tokens"},
};

constexpr TranslatedApi kApi = {kRenamed, kOwn, kUnsupported};

}  // namespace

const TranslatedApi& MessagesApi() { return kApi; }

}  // namespace baton::gateway
