#include "services/gateway/responses/responses_fields.h"

namespace baton::gateway {
namespace {

constexpr RenamedField kRenamed[] = {
    {"model", "model"},   {"max_output_tokens", "max_completion_tokens"},
    {"stream", "stream"}, {"temperature", "temperature"},
    {"top_p", "top_p"},   {"parallel_tool_calls", "parallel_tool_calls"},
};

constexpr OwnField kOwn[] = {
    {"input",
     R"({"anyOf":[{"type":"string"},{"type":"array","minItems":1,"items":{"type":"object",
         "properties":{"type":{"enum":["message","function_call","function_call_output",
             "reasoning"]},"role":{"type":"string"},
           "content":{"anyOf":[{"type":"string"},{"type":"array"},{"type":"null"}]}}}}]})",
     R"({"input":[{"role":"user","content":[{"type":"input_text","text":"x"}]}]})"},
    {"instructions", R"({"type":"string","description":"a system message before the input"})",
     R"({"instructions":"x"})"},
    {"tools",
     R"({"type":"array","items":{"type":"object","required":["type","name"],
         "properties":{"type":{"const":"function"},"name":{"type":"string"},
           "description":{"type":"string"},"parameters":{"type":"object"}}}})",
     R"({"tools":[{"type":"function","name":"f","description":"x","parameters":{}}]})"},
    {"tool_choice",
     R"({"anyOf":[{"enum":["none","auto","required"]},{"type":"object",
         "required":["type","name"],
         "properties":{"type":{"const":"function"},"name":{"type":"string"}}}]})",
     R"({"tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function","name":"f"}})"},
    {"text",
     R"({"type":"object","properties":{"format":{"type":"object","required":["type"],
         "properties":{"type":{"enum":["text","json_object","json_schema"]},
           "name":{"type":"string"},"schema":{"type":"object"}}}}})",
     R"({"text":{"format":{"type":"json_schema","name":"x","schema":{}}}})"},
    {"reasoning",
     R"({"type":"object","properties":{
         "effort":{"enum":["none","minimal","low","medium","high","xhigh","max",null]}}})",
     R"({"reasoning":{"effort":"low"}})"},
};

constexpr char kNothingIsStored[] = "nothing is stored";
constexpr char kShownAsItIs[] = "reasoning is shown as it is";
constexpr UnsupportedField kUnsupported[] = {
    {"previous_response_id", "[]", kNothingIsStored},
    {"conversation", "[]", kNothingIsStored},
    {"prompt", "[]", kNothingIsStored},
    {"background", "[false]", kNothingIsStored},
    {"include", "[[]]"},
    {"max_tool_calls", "[]", "it runs no tools of its own"},
    {"truncation", R"(["disabled"])", "a conversation is taken as it is"},
    {"context_management", "[[]]", "a conversation is taken as it is"},
    {"stream_options", R"([{},{"include_obfuscation":false}])", "events are sent as they are"},
    {"include_reasoning", "[true]", "reasoning is an item of its own"},
    {"enable_response_messages", "[false]"},
    {"previous_input_messages", "[[]]"},
    {"messages", "[]", "use input"},
    {"max_tokens", "[]", "use max_output_tokens"},
    {"max_completion_tokens", "[]", "use max_output_tokens"},
    {"text.verbosity", R"(["medium"])"},
    {"reasoning.summary", R"(["auto"])", kShownAsItIs},
    {"reasoning.generate_summary", R"(["auto"])", kShownAsItIs},
};

constexpr TranslatedApi kApi = {kRenamed, kOwn, kUnsupported};

}  // namespace

const TranslatedApi& ResponsesApi() { return kApi; }

}  // namespace baton::gateway
