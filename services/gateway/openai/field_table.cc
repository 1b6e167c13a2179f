#include "services/gateway/openai/field_table.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace baton::gateway {
namespace {

using enum FieldOutcome;

constexpr char kBoolean[] = R"({"type":"boolean"})";
constexpr char kInteger[] = R"({"type":"integer"})";
constexpr char kPriority[] = R"({"type":"integer","minimum":-2147483648,"maximum":2147483647})";
constexpr char kNumber[] = R"({"type":"number"})";
constexpr char kString[] = R"({"type":"string"})";
constexpr char kObject[] = R"({"type":"object"})";
constexpr char kList[] = R"({"type":"array"})";
constexpr char kIds[] = R"({"type":"array","items":{"type":"integer"}})";
constexpr char kFromZero[] = R"({"type":"integer","minimum":0})";
constexpr char kFromOne[] = R"({"type":"integer","minimum":1})";
constexpr char kLogprobs[] = R"({"type":"integer","minimum":0,"maximum":$num_top_logprobs})";
constexpr char kShare[] = R"({"type":"number","minimum":0,"maximum":1})";
constexpr char kPenalty[] = R"({"type":"number","minimum":-2,"maximum":2})";
constexpr char kAny[] = "{}";
constexpr char kTextOnly[] = "this model reads and writes text";

constexpr char kTransfer[] = "this server moves the model's state between its own stages alone";

// As FieldRow; $NAME in `schema` and `note` is that member of RequestCaps.
struct RowText {
  const char* name;
  bool chat;
  bool completion;
  FieldOutcome outcome;
  const char* schema;
  const char* example;
  const char* neutral;
  const char* note;
};

constexpr RowText kRows[] = {
    {"model", true, true, kWorks, kString, R"({"model":"m"})", "",
     "default: what is served; another name is a 404"},
    {"messages", true, false, kWorks,
     R"({"type":"array","items":{"type":"object"},"minItems":1,"maxItems":$messages})", "{}", "",
     "at most $messages; text only"},
    {"prompt", false, true, kWorks, R"({"anyOf":[{"type":"string"},{"type":"array"}]})", "{}", "",
     "a text, token ids, or a list of at most $prompts of either"},
    {"max_completion_tokens", true, false, kWorks, kFromOne, R"({"max_completion_tokens":5})", "",
     "default: what the context leaves; goes before max_tokens"},
    {"max_tokens", true, false, kWorks, kFromOne, R"({"max_tokens":5})", "",
     "default: what the context leaves"},
    {"max_tokens", false, true, kWorks, kFromZero, R"({"max_tokens":5})", "",
     "default 16; 0 with echo only"},
    {"temperature", true, true, kWorks, R"({"type":"number","minimum":0,"maximum":2})",
     R"({"temperature":0.5})", "",
     "[0, 2]; default: the model's; under 1e-5 greedy, else at least 0.01"},
    {"top_p", true, true, kWorks, kShare, R"({"top_p":0.5})", "", "(0, 1]; default: the model's"},
    {"top_k", true, true, kWorks, R"({"type":"integer","minimum":-1})", R"({"top_k":5})", "",
     "at least -1; 0 and -1: off"},
    {"min_p", true, true, kWorks, kShare, R"({"min_p":0.5})", "", "[0, 1]"},
    {"presence_penalty", true, true, kWorks, kPenalty, R"({"presence_penalty":0.5})", "",
     "[-2, 2]"},
    {"frequency_penalty", true, true, kWorks, kPenalty, R"({"frequency_penalty":0.5})", "",
     "[-2, 2]"},
    {"repetition_penalty", true, true, kWorks, kNumber, R"({"repetition_penalty":1.5})", "",
     "more than 0"},
    {"n", true, true, kWorks, R"({"type":"integer","minimum":1,"maximum":$num_choices})",
     R"({"n":2,"temperature":1})", "",
     "1 to $num_choices, times prompts at most $sequences; 1 with temperature 0"},
    {"best_of", true, true, kWorks, kInteger, R"({"best_of":1})", "", "only as large as n"},
    {"seed", true, true, kWorks, kInteger, R"({"seed":5})", "", "-1: none"},
    {"stop", true, true, kWorks,
     R"({"anyOf":[{"type":"string"},{"type":"array","items":{"type":"string"}}]})",
     R"({"stop":["x"]})", "", "at most $stop_strings of at most $stop_string_bytes bytes"},
    {"stop_token_ids", true, true, kWorks, kIds, R"({"stop_token_ids":[5]})", "",
     "at most $stop_token_ids"},
    {"include_stop_str_in_output", true, true, kWorks, kBoolean,
     R"({"include_stop_str_in_output":true})", "", ""},
    {"ignore_eos", true, true, kWorks, kBoolean, R"({"ignore_eos":true})", "", ""},
    {"min_tokens", true, true, kWorks, kFromZero, R"({"min_tokens":2})", "", "at most max_tokens"},
    {"logprobs", true, false, kWorks, kBoolean, R"({"logprobs":true})", "", ""},
    {"top_logprobs", true, false, kWorks, kLogprobs, R"({"logprobs":true,"top_logprobs":2})", "",
     "0 to $num_top_logprobs, with logprobs; -1, the whole vocabulary, is a 400"},
    {"logprobs", false, true, kWorks, kLogprobs, R"({"logprobs":2})", "", "0 to $num_top_logprobs"},
    {"prompt_logprobs", true, true, kWorks, kLogprobs, R"({"prompt_logprobs":2})", "",
     "0 to $num_top_logprobs; not with stream; -1, the whole vocabulary, is a 400"},
    {"logprob_token_ids", true, true, kRefused, kIds, R"({"logprob_token_ids":[1]})", "",
     "log-probabilities are of the drawn and the likeliest tokens; use top_logprobs"},
    {"logit_bias", true, true, kWorks, kObject, R"({"logit_bias":{"5":10}})", "",
     "at most $logit_biases tokens; clamped to [-100, 100]"},
    {"allowed_token_ids", true, true, kWorks, kIds, R"({"allowed_token_ids":[5]})", "",
     "1 to $allowed_token_ids"},
    {"bad_words", true, true, kWorks, R"({"type":"array","items":{"type":"string"}})",
     R"({"bad_words":["x"]})", "",
     "at most $bad_words of at most $bad_word_bytes bytes, with and without a blank before"},
    {"stream", true, true, kWorks, kBoolean, R"({"stream":true})", "", ""},
    {"stream_options", true, true, kWorks, kObject,
     R"({"stream":true,"stream_options":{"include_usage":true}})", "",
     "include_usage, continuous_usage_stats; with stream"},
    {"stream_interval", true, true, kWorks,
     R"({"type":"integer","minimum":1,"maximum":$stream_interval})",
     R"({"stream":true,"stream_interval":5})", "",
     "tokens of an event, 1 to $stream_interval; the first and the last come at once"},
    {"response_format", true, true, kWorks, kObject,
     R"({"response_format":{"type":"json_object"}})", "", "text, json_object, json_schema"},
    {"structured_outputs", true, true, kWorks, kObject,
     R"({"structured_outputs":{"choice":["x"]}})", "",
     "one of json, regex, choice, grammar, json_object; whitespace_pattern, disable_any_whitespace "
     "and disable_additional_properties with JSON only; structural_tag is a 400: use tools, or "
     "grammar"},
    {"guided_json", true, true, kWorks, kAny, R"({"guided_json":{}})", "", ""},
    {"guided_regex", true, true, kWorks, kString, R"({"guided_regex":"x"})", "", ""},
    {"guided_choice", true, true, kWorks, kList, R"({"guided_choice":["x"]})", "", ""},
    {"guided_grammar", true, true, kWorks, kString, R"({"guided_grammar":"root ::= \"x\""})", "",
     ""},
    {"guided_json_object", true, true, kWorks, kBoolean, R"({"guided_json_object":true})", "", ""},
    {"guided_decoding_backend", true, true, kIgnored, kString, R"({"guided_decoding_backend":"x"})",
     "", "there is one; named in the debug log"},
    {"guided_whitespace_pattern", true, true, kWorks, kString,
     R"({"guided_json":{},"guided_whitespace_pattern":" ?"})", "",
     "with guided_json or another demand for JSON"},
    {"tools", true, false, kWorks,
     R"({"type":"array","items":{"type":"object"},"minItems":1,"maxItems":$tools})",
     R"({"tools":[{"type":"function","function":{"name":"f"}}]})", "",
     "1 to $tools functions; the chat template must show them; `strict` is kept where it can be"},
    {"tool_choice", true, false, kWorks, R"({"anyOf":[{"type":"string"},{"type":"object"}]})",
     R"({"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"auto"})", "",
     "none, auto, required, or a function by name"},
    {"parallel_tool_calls", true, false, kWorks, kBoolean, R"({"parallel_tool_calls":false})", "",
     "false: only the first call counts"},
    {"functions", true, false, kRefused, kList, R"({"functions":[]})", "", "use tools"},
    {"function_call", true, false, kRefused, kAny, R"({"function_call":"auto"})", R"("none")",
     "use tool_choice"},
    {"reasoning_effort", true, false, kWorks, kString, R"({"reasoning_effort":"low"})", "",
     "none, minimal, low, medium, high, xhigh, max; for the chat template"},
    {"include_reasoning", true, false, kWorks, kBoolean, R"({"include_reasoning":false})", "", ""},
    {"thinking_token_budget", true, true, kWorks, R"({"type":"integer","minimum":-1})",
     R"({"thinking_token_budget":5})", "",
     "-1: none; behind so many tokens the reasoning is ended; 400 without a reasoning parser"},
    {"echo", true, false, kWorks, kBoolean, R"({"echo":true})", "",
     "the content begins with that of a last message of the assistant"},
    {"echo", false, true, kWorks, kBoolean, R"({"echo":true})", "", ""},
    {"suffix", false, true, kRefused, kString, R"({"suffix":"x"})", R"("")",
     "the model continues texts, it does not fill them in"},
    {"add_generation_prompt", true, false, kWorks, kBoolean, R"({"add_generation_prompt":false})",
     "", "default true, but with continue_final_message"},
    {"continue_final_message", true, false, kWorks, kBoolean, R"({"continue_final_message":true})",
     "", "not with add_generation_prompt"},
    {"add_special_tokens", true, false, kWorks, kBoolean, R"({"add_special_tokens":true})", "",
     "default false: the template writes them"},
    {"add_special_tokens", false, true, kWorks, kBoolean, R"({"add_special_tokens":false})", "",
     "default true"},
    {"chat_template", true, false, kRefused, kString, R"({"chat_template":"x"})", "",
     "use --chat-template"},
    {"chat_template_kwargs", true, false, kWorks, kObject,
     R"({"chat_template_kwargs":{"thinking":true}})", "",
     "goes before --default-chat-template-kwargs"},
    {"documents", true, false, kWorks, R"({"type":"array","items":{"type":"object"}})",
     R"({"documents":[{"text":"x"}]})", "", "for the chat template; 400 if it does not show them"},
    {"truncate_prompt_tokens", true, true, kWorks, R"({"type":"integer","minimum":-1})",
     R"({"truncate_prompt_tokens":5})", "", "-1: what the context holds"},
    {"truncation_side", true, true, kWorks, kString, R"({"truncation_side":"right"})", "",
     "left, right; default left: the beginning is cut off"},
    {"skip_special_tokens", true, true, kWorks, kBoolean, R"({"skip_special_tokens":false})", "",
     ""},
    {"spaces_between_special_tokens", true, true, kIgnored, kBoolean,
     R"({"spaces_between_special_tokens":false})", "", "byte-level tokens have their spaces"},
    {"return_token_ids", true, true, kWorks, kBoolean, R"({"return_token_ids":true})", "", ""},
    {"return_tokens_as_token_ids", true, true, kWorks, kBoolean,
     R"({"return_tokens_as_token_ids":true})", "", ""},
    {"return_prompt_text", true, false, kWorks, kBoolean, R"({"return_prompt_text":true})", "", ""},
    {"priority", true, true, kWorks, kPriority, R"({"priority":5})", "",
     "lower first, 32 bits (vLLM: 64); X-Vllm-Priority says the same; of an API key not below "
     "--best-priority-per-key (0)"},
    {"request_id", true, true, kWorks, kString, R"({"request_id":"r-1"})", "",
     "at most $request_id_bytes plain characters; X-Request-Id goes before it"},
    {"cache_salt", true, true, kWorks, kString, R"({"cache_salt":"s"})", "",
     "1 to $cache_salt_bytes bytes"},
    {"user", true, true, kIgnored, kString, R"({"user":"u"})", "", "at most $user_bytes bytes"},
    {"session_id", true, true, kIgnored, kString, R"({"session_id":"s"})", "", ""},
    {"use_beam_search", true, true, kRefused, kBoolean, R"({"use_beam_search":true})", "false",
     "answers are sampled; n gives several"},
    {"length_penalty", true, true, kRefused, kNumber, R"({"length_penalty":0.5})", "1.0",
     "it belongs to beam search"},
    {"logits_processors", true, true, kRefused, kAny, R"({"logits_processors":[]})", "",
     "no code of a request is run"},
    {"repetition_detection", true, true, kRefused, kObject, R"({"repetition_detection":{}})", "",
     "nothing looks for patterns in answers; use frequency_penalty or repetition_penalty"},
    {"prompt_embeds", true, true, kRefused, kAny, R"({"prompt_embeds":"x"})", "",
     "prompts are texts or token ids"},
    {"vllm_xargs", true, true, kRefused, kObject, R"({"vllm_xargs":{}})", "",
     "arguments of vLLM's plug-ins, of which there are none"},
    {"kv_transfer_params", true, true, kRefused, kObject, R"({"kv_transfer_params":{}})", "",
     kTransfer},
    {"ec_transfer_params", true, true, kRefused, kObject, R"({"ec_transfer_params":{}})", "",
     kTransfer},
    {"routed_experts_prompt_start", true, true, kRefused, kInteger,
     R"({"routed_experts_prompt_start":1})", "", "which experts were chosen is not reported"},
    {"audio", true, false, kRefused, kObject, R"({"audio":{}})", "", kTextOnly},
    {"modalities", true, false, kRefused, kList, R"({"modalities":["audio"]})", R"(["text"])",
     kTextOnly},
    {"mm_processor_kwargs", true, false, kRefused, kObject, R"({"mm_processor_kwargs":{}})", "",
     kTextOnly},
    {"media_io_kwargs", true, false, kRefused, kObject, R"({"media_io_kwargs":{}})", "", kTextOnly},
    {"prediction", true, false, kRefused, kObject, R"({"prediction":{}})", "",
     "the model guesses by itself, with --speculative-config"},
    {"web_search_options", true, false, kRefused, kObject, R"({"web_search_options":{}})", "",
     "this server runs no tools of its own"},
    {"store", true, true, kIgnored, kBoolean, R"({"store":true})", "", "nothing is kept"},
    {"metadata", true, true, kIgnored, kObject, R"({"metadata":{}})", "", ""},
    {"service_tier", true, true, kIgnored, kString, R"({"service_tier":"auto"})", "", ""},
    {"safety_identifier", true, true, kIgnored, kString, R"({"safety_identifier":"s"})", "", ""},
    {"prompt_cache_key", true, true, kIgnored, kString, R"({"prompt_cache_key":"k"})", "", ""},
    {"prompt_cache_retention", true, true, kIgnored, kString, R"({"prompt_cache_retention":"24h"})",
     "", ""},
};

// Each $NAME and the number that stands for it.
std::vector<std::pair<std::string, std::string>> CapNumbers(const RequestCaps& caps) {
  std::vector<std::pair<std::string, std::string>> numbers;
  for (const RequestCap& cap : RequestCapRows()) {
    numbers.emplace_back(absl::StrCat("$", cap.name), absl::StrCat(caps.*cap.member));
  }
  return numbers;
}

}  // namespace

std::vector<FieldRow> FieldRowsOf(const RequestCaps& caps) {
  const auto numbers = CapNumbers(caps);
  std::vector<FieldRow> rows;
  for (const RowText& row : kRows) {
    rows.push_back({row.name, row.chat, row.completion, row.outcome,
                    absl::StrReplaceAll(row.schema, numbers), row.example, row.neutral,
                    absl::StrReplaceAll(row.note, numbers)});
  }
  return rows;
}

absl::Span<const FieldRow> FieldTable() {
  static const auto* const rows = new std::vector<FieldRow>(FieldRowsOf(RequestCaps()));
  return *rows;
}

}  // namespace baton::gateway
