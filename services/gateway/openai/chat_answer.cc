#include "services/gateway/openai/chat_answer.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"

#include "services/gateway/answers/random_id.h"
#include "services/gateway/http/sse.h"
#include "services/gateway/openai/answer_parts.h"

namespace baton::gateway {
namespace {

constexpr absl::string_view kChatObject = "chat.completion";
constexpr absl::string_view kChunkObject = "chat.completion.chunk";
constexpr char kCallIdPrefix[] = "chatcmpl-tool-";

Json TokenJson(const Tokenizer& tokenizer, const v1::TokenLogprob& token, bool as_token_id) {
  Json bytes = Json::array();
  for (char c : tokenizer.TokenBytes(token.token_id())) {
    bytes.push_back(static_cast<unsigned char>(c));
  }
  return {{"token", TokenName(tokenizer, token.token_id(), as_token_id)},
          {"logprob", ClampLogprob(token.logprob())},
          {"bytes", std::move(bytes)}};
}

// An item of "tool_calls" in a delta: id, type and name come with the first piece of a call.
Json ToolCallDelta(const ToolCallPiece& piece) {
  if (!piece.begins) {
    return {{"index", piece.index}, {"function", {{"arguments", piece.arguments}}}};
  }
  return {{"index", piece.index},
          {"id", RandomId(kCallIdPrefix)},
          {"type", "function"},
          {"function", {{"name", piece.name}, {"arguments", piece.arguments}}}};
}

Json ToolCallsJson(const std::vector<ToolCallPiece>& calls) {
  Json list = Json::array();
  for (const ToolCallPiece& call : calls) {
    list.push_back({{"id", RandomId(kCallIdPrefix)},
                    {"type", "function"},
                    {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  return list;
}

}  // namespace

ChatAnswer::ChatAnswer(const Tokenizer& tokenizer, ChatAnswerOptions options)
    : tokenizer_(tokenizer),
      options_(std::move(options)),
      prefix_(EventPrefix(options_.head, kChunkObject)),
      choices_(options_.num_choices) {}

void ChatAnswer::AppendLogprobs(const SequenceUpdate& update, std::string* items) const {
  const bool as_ids = options_.output.tokens_as_token_ids;
  for (const v1::GeneratedToken& token : update.tokens) {
    Json entry = TokenJson(tokenizer_, token.logprobs().token(), as_ids);
    Json top = Json::array();
    for (const v1::TokenLogprob& other : token.logprobs().top()) {
      top.push_back(TokenJson(tokenizer_, other, as_ids));
    }
    entry["top_logprobs"] = std::move(top);
    AppendItem(DumpJson(entry), items);
  }
}

// --- Streamed ---

void ChatAnswer::Delta(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
                       std::string* events) {
  if (update.first) AppendRoleEvent(choice, usage, events);
  const bool has_text = !update.content.empty() || !update.tool_calls.empty() ||
                        (options_.include_reasoning && !update.reasoning.empty());
  choices_[choice].texts.end.Add(update);
  const bool carries_tokens =
      !update.tokens.empty() && (options_.logprobs || options_.output.return_token_ids);
  const bool ends = update.finish_reason != v1::FINISH_REASON_UNSPECIFIED;
  if (has_text || carries_tokens || ends) AppendDeltaEvent(choice, update, usage, events);
}

void ChatAnswer::AppendRoleEvent(size_t choice, const RequestUsage& usage, std::string* events) {
  std::string json = absl::StrCat(prefix_, "{\"index\":", choice,
                                  ",\"delta\":{\"role\":\"assistant\",\"content\":");
  AppendJsonString(options_.echoed, &json);
  json.append("},\"logprobs\":null,\"finish_reason\":null}]");
  if (options_.prompt_text) {
    json.append(",\"prompt_text\":");
    AppendJsonString(*options_.prompt_text, &json);
  }
  if (options_.output.return_token_ids) {
    absl::StrAppend(&json,
                    ",\"prompt_token_ids\":", DumpJson(TokenIdsJson(options_.prompt_token_ids)));
  }
  AppendEventTail(/*last=*/false, usage, &json);
  AppendSseEvent(json, events);
}

void ChatAnswer::AppendDeltaEvent(size_t choice, const SequenceUpdate& update,
                                  const RequestUsage& usage, std::string* events) {
  std::string json = absl::StrCat(prefix_, "{\"index\":", choice, ",\"delta\":{");
  json.append(DeltaMembers(update));
  json.append("},\"logprobs\":");
  if (options_.logprobs && !update.tokens.empty()) {
    std::string items;
    AppendLogprobs(update, &items);
    absl::StrAppend(&json, "{\"content\":[", items, "]}");
  } else {
    json.append("null");
  }
  const bool ends = update.finish_reason != v1::FINISH_REASON_UNSPECIFIED;
  if (ends) {
    const ChoiceEnd& end = choices_[choice].texts.end;
    absl::StrAppend(&json, ",\"finish_reason\":", DumpJson(FinishReason(end)),
                    ",\"stop_reason\":", DumpJson(StopReasonJson(end)));
  } else {
    json.append(",\"finish_reason\":null");
  }
  if (options_.output.return_token_ids) {
    absl::StrAppend(&json, ",\"token_ids\":", DumpJson(TokenIdsJson(update.tokens)));
  }
  json.append("}]");
  AppendEventTail(ends, usage, &json);
  AppendSseEvent(json, events);
}

std::string ChatAnswer::DeltaMembers(const SequenceUpdate& update) const {
  std::string json;
  if (options_.include_reasoning && !update.reasoning.empty()) {
    std::string text;
    AppendJsonString(update.reasoning, &text);
    if (options_.writes_reasoning_content) {
      AppendItem(absl::StrCat("\"reasoning_content\":", text), &json);
    }
    if (options_.writes_reasoning) AppendItem(absl::StrCat("\"reasoning\":", text), &json);
  }
  if (!update.content.empty() || (json.empty() && update.tool_calls.empty())) {
    std::string text;
    AppendJsonString(update.content, &text);
    AppendItem(absl::StrCat("\"content\":", text), &json);
  }
  if (!update.tool_calls.empty()) {
    Json calls = Json::array();
    for (const ToolCallPiece& piece : update.tool_calls) calls.push_back(ToolCallDelta(piece));
    AppendItem(absl::StrCat("\"tool_calls\":", DumpJson(calls)), &json);
  }
  return json;
}

// Whoever names the function knows that it is called.
Json ChatAnswer::FinishReason(const ChoiceEnd& end) const {
  const bool hidden = end.end() == AnswerEnd::kToolCalls && !options_.names_calls;
  return FinishReasonJson(hidden ? AnswerEnd::kStop : end.end());
}

void ChatAnswer::AppendEventTail(bool last, const RequestUsage& usage, std::string* json) const {
  if (last) {
    json->append(",\"system_fingerprint\":");
    AppendJsonString(options_.head.system_fingerprint, json);
  }
  if (options_.stream.continuous_usage) {
    absl::StrAppend(json, ",\"usage\":", UsageJson(usage, options_.counts_reasoning));
  }
  json->push_back('}');
}

void ChatAnswer::Finish(const RequestUsage& usage, std::string* events) {
  if (options_.stream.include_usage) {
    AppendSseEvent(
        UsageEvent(options_.head, kChunkObject, UsageJson(usage, options_.counts_reasoning)),
        events);
  }
  events->append(kSseDone.data(), kSseDone.size());
}

// --- Whole ---

void ChatAnswer::Collect(size_t choice, const SequenceUpdate& update) {
  Choice& collected = choices_[choice];
  const size_t num_logprob_bytes = collected.logprobs.size();
  collected_bytes_ += collected.texts.Add(update);
  if (options_.logprobs) AppendLogprobs(update, &collected.logprobs);
  if (options_.output.return_token_ids) {
    for (const auto& token : update.tokens) collected.token_ids.push_back(token.token_id());
    collected_bytes_ += update.tokens.size() * sizeof(uint32_t);
  }
  if (options_.prompt_logprobs && !update.prompt_logprobs.empty() && prompt_logprobs_.empty()) {
    prompt_logprobs_ = PromptLogprobsJson(tokenizer_, update.prompt_logprobs);
    collected_bytes_ += prompt_logprobs_.size();
  }
  collected_bytes_ += collected.logprobs.size() - num_logprob_bytes;
}

// A sequence that ended inside its reasoning has no answer; one without either has an empty one.
std::string ChatAnswer::ContentJson(const CollectedChoice& texts) const {
  const bool no_answer =
      texts.content.empty() && (!texts.reasoning.empty() || texts.end.has_calls());
  if (no_answer && options_.echoed.empty()) return "null";
  std::string json;
  AppendJsonString(options_.echoed.empty() ? texts.content : options_.echoed + texts.content,
                   &json);
  return json;
}

std::string ChatAnswer::MessageJson(const CollectedChoice& texts) const {
  std::string json =
      absl::StrCat("{\"role\":\"assistant\",\"content\":", ContentJson(texts),
                   ",\"refusal\":null,\"annotations\":null,\"audio\":null,\"function_call\":null");
  std::string reasoning = "null";
  if (options_.include_reasoning && !texts.reasoning.empty()) {
    reasoning.clear();
    AppendJsonString(texts.reasoning, &reasoning);
  }
  // Clients of either name find it: the field was renamed in other servers.
  if (options_.writes_reasoning_content) {
    absl::StrAppend(&json, ",\"reasoning_content\":", reasoning);
  }
  if (options_.writes_reasoning) absl::StrAppend(&json, ",\"reasoning\":", reasoning);
  if (!texts.calls.empty()) {
    absl::StrAppend(&json, ",\"tool_calls\":", DumpJson(ToolCallsJson(texts.calls)));
  }
  json.push_back('}');
  return json;
}

std::string ChatAnswer::ChoiceJson(size_t index) const {
  const Choice& choice = choices_[index];
  const CollectedChoice& texts = choice.texts;
  std::string json = absl::StrCat("{\"index\":", index, ",\"message\":", MessageJson(texts));
  if (options_.logprobs) {
    absl::StrAppend(&json, ",\"logprobs\":{\"content\":[", choice.logprobs, "]}");
  } else {
    json.append(",\"logprobs\":null");
  }
  absl::StrAppend(&json, ",\"finish_reason\":", DumpJson(FinishReason(texts.end)),
                  ",\"stop_reason\":", DumpJson(StopReasonJson(texts.end)), ",\"token_ids\":",
                  options_.output.return_token_ids ? TokenIdsText(choice.token_ids) : "null", "}");
  return json;
}

std::string ChatAnswer::Body(const RequestUsage& usage) {
  std::string body = EventPrefix(options_.head, kChatObject);
  for (size_t i = 0; i < choices_.size(); ++i) {
    absl::StrAppend(&body, i == 0 ? "" : ",", ChoiceJson(i));
    choices_[i] = Choice();
  }
  body.append("],\"service_tier\":null,\"system_fingerprint\":");
  AppendJsonString(options_.head.system_fingerprint, &body);
  absl::StrAppend(
      &body, ",\"usage\":", UsageJson(usage, options_.counts_reasoning),
      ",\"prompt_logprobs\":", prompt_logprobs_.empty() ? "null" : prompt_logprobs_,
      ",\"prompt_token_ids\":",
      options_.prompt_token_ids.empty() ? "null" : TokenIdsText(options_.prompt_token_ids),
      ",\"kv_transfer_params\":null");
  if (options_.prompt_text) {
    body.append(",\"prompt_text\":");
    AppendJsonString(*options_.prompt_text, &body);
  }
  body.push_back('}');
  return body;
}

}  // namespace baton::gateway
