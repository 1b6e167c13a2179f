#include "services/gateway/openai/completion_answer.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "services/gateway/http/sse.h"
#include "services/gateway/openai/answer_parts.h"

namespace baton::gateway {
namespace {

constexpr absl::string_view kCompletionObject = "text_completion";

}  // namespace

CompletionAnswer::CompletionAnswer(const Tokenizer& tokenizer, CompletionAnswerOptions options)
    : tokenizer_(tokenizer),
      options_(std::move(options)),
      prefix_(EventPrefix(options_.head, kCompletionObject)),
      choices_(options_.prompts.size() * options_.choices_per_prompt) {}

void CompletionAnswer::AddToken(const v1::PositionLogprobs& logprobs, Choice* choice,
                                LogprobLists* lists) const {
  const bool as_ids = options_.output.tokens_as_token_ids;
  const v1::TokenLogprob& token = logprobs.token();
  const std::string name = TokenName(tokenizer_, token.token_id(), as_ids);
  AppendItem(absl::StrCat(choice->text_offset), &lists->text_offset);
  choice->text_offset += CountCharacters(name);
  Json top = Json::object();
  for (const v1::TokenLogprob& other : logprobs.top()) {
    top[TokenName(tokenizer_, other.token_id(), as_ids)] = ClampLogprob(other.logprob());
  }
  top[name] = ClampLogprob(token.logprob());
  AppendItem(DumpJson(ClampLogprob(token.logprob())), &lists->token_logprobs);
  AppendItem(DumpJson(name), &lists->tokens);
  AppendItem(DumpJson(top), &lists->top_logprobs);
}

void CompletionAnswer::AddFirstPromptToken(uint32_t token_id, Choice* choice,
                                           LogprobLists* lists) const {
  const std::string name = TokenName(tokenizer_, token_id, options_.output.tokens_as_token_ids);
  AppendItem(absl::StrCat(choice->text_offset), &lists->text_offset);
  choice->text_offset += CountCharacters(name);
  AppendItem("null", &lists->token_logprobs);  // nothing predicts it
  AppendItem(DumpJson(name), &lists->tokens);
  AppendItem("null", &lists->top_logprobs);
}

void CompletionAnswer::AddTokens(size_t index, const SequenceUpdate& update, LogprobLists* lists) {
  Choice& choice = choices_[index];
  if (options_.echo && !update.prompt_logprobs.empty()) {
    AddFirstPromptToken(PromptOf(index).token_ids.front(), &choice, lists);
    for (const auto& position : update.prompt_logprobs) AddToken(position, &choice, lists);
  } else if (options_.echo && update.first && !PromptOf(index).token_ids.empty()) {
    AddFirstPromptToken(PromptOf(index).token_ids.front(), &choice, lists);  // a prompt of one
  }
  if (options_.echo_only) return;
  for (const auto& token : update.tokens) AddToken(token.logprobs(), &choice, lists);
}

std::string CompletionAnswer::ToJson(const LogprobLists& lists) const {
  return absl::StrCat("{\"text_offset\":[", lists.text_offset, "],\"token_logprobs\":[",
                      lists.token_logprobs, "],\"tokens\":[", lists.tokens, "],\"top_logprobs\":[",
                      lists.top_logprobs, "]}");
}

Json CompletionAnswer::ShownFinishReason(const ChoiceEnd& end) const {
  const bool shown_as_is = end.end() == AnswerEnd::kNone || !options_.echo_only;
  return FinishReasonJson(shown_as_is ? end.end() : AnswerEnd::kLength);
}

Json CompletionAnswer::ShownStopReason(const ChoiceEnd& end) const {
  return options_.echo_only ? Json(nullptr) : StopReasonJson(end);
}

// The token that is computed only to have an end is no part of the answer.
std::string CompletionAnswer::ShownUsage(const RequestUsage& usage) const {
  RequestUsage shown = usage;
  if (options_.echo_only) shown.num_generated_tokens = 0;
  return UsageJson(shown, false);
}

// --- Streamed ---

void CompletionAnswer::Delta(size_t index, const SequenceUpdate& update, const RequestUsage& usage,
                             std::string* events) {
  ChoiceEnd& end = choices_[index].end;
  end.Add(update);
  const bool ends = update.finish_reason != v1::FINISH_REASON_UNSPECIFIED;
  const bool carries_tokens =
      !update.tokens.empty() && (options_.logprobs || options_.output.return_token_ids);
  if (!update.first && !ends && !carries_tokens && update.content.empty()) return;

  std::string json = absl::StrCat(prefix_, "{\"index\":", index, ",\"text\":");
  std::string text = update.first && options_.echo ? PromptOf(index).text : "";
  if (!options_.echo_only) text.append(update.content);
  AppendJsonString(text, &json);
  json.append(",\"logprobs\":");
  if (options_.logprobs && !update.tokens.empty()) {
    LogprobLists lists;
    AddTokens(index, update, &lists);
    json.append(ToJson(lists));
  } else {
    json.append("null");
  }
  absl::StrAppend(&json, ",\"finish_reason\":", DumpJson(ShownFinishReason(end)),
                  ",\"stop_reason\":", DumpJson(ShownStopReason(end)));
  if (options_.output.return_token_ids) {
    if (update.first) {
      absl::StrAppend(&json,
                      ",\"prompt_token_ids\":", DumpJson(TokenIdsJson(PromptOf(index).token_ids)));
    }
    absl::StrAppend(&json, ",\"token_ids\":",
                    options_.echo_only ? "[]" : DumpJson(TokenIdsJson(update.tokens)));
  }
  json.append("}]");
  if (options_.stream.continuous_usage) {
    absl::StrAppend(&json, ",\"usage\":", ShownUsage(usage));
  }
  json.push_back('}');
  AppendSseEvent(json, events);
}

void CompletionAnswer::Finish(const RequestUsage& usage, std::string* events) {
  if (options_.stream.include_usage) {
    AppendSseEvent(UsageEvent(options_.head, kCompletionObject, ShownUsage(usage)), events);
  }
  events->append(kSseDone.data(), kSseDone.size());
}

// --- Whole ---

void CompletionAnswer::Collect(size_t index, const SequenceUpdate& update) {
  Choice& choice = choices_[index];
  const size_t bytes_before = choice.text.size() + choice.logprobs.num_bytes();
  choice.end.Add(update);
  if (update.first && options_.echo) choice.text = PromptOf(index).text;
  if (!options_.echo_only) choice.text.append(update.content);
  if (options_.logprobs) AddTokens(index, update, &choice.logprobs);
  if (options_.output.return_token_ids && !options_.echo_only) {
    for (const auto& token : update.tokens) choice.token_ids.push_back(token.token_id());
    collected_bytes_ += update.tokens.size() * sizeof(uint32_t);
  }
  // They come with the first token; of a prompt of one there are none.
  if (options_.prompt_logprobs && update.first && !update.tokens.empty()) {
    choice.prompt_logprobs = PromptLogprobsJson(tokenizer_, update.prompt_logprobs);
    collected_bytes_ += choice.prompt_logprobs.size();
  }
  collected_bytes_ += choice.text.size() + choice.logprobs.num_bytes() - bytes_before;
}

std::string CompletionAnswer::ChoiceJson(size_t index) const {
  const Choice& choice = choices_[index];
  const bool ids = options_.output.return_token_ids;
  std::string json = absl::StrCat("{\"index\":", index, ",\"text\":");
  AppendJsonString(choice.text, &json);
  absl::StrAppend(
      &json, ",\"logprobs\":", options_.logprobs ? ToJson(choice.logprobs) : "null",
      ",\"finish_reason\":", DumpJson(ShownFinishReason(choice.end)),
      ",\"stop_reason\":", DumpJson(ShownStopReason(choice.end)),
      ",\"token_ids\":", ids ? TokenIdsText(choice.token_ids) : "null",
      ",\"prompt_logprobs\":", choice.prompt_logprobs.empty() ? "null" : choice.prompt_logprobs,
      ",\"prompt_token_ids\":", ids ? TokenIdsText(PromptOf(index).token_ids) : "null", "}");
  return json;
}

std::string CompletionAnswer::Body(const RequestUsage& usage) {
  std::string body = EventPrefix(options_.head, kCompletionObject);
  for (size_t i = 0; i < choices_.size(); ++i) {
    absl::StrAppend(&body, i == 0 ? "" : ",", ChoiceJson(i));
    choices_[i] = Choice();
  }
  body.append("],\"service_tier\":null,\"system_fingerprint\":");
  AppendJsonString(options_.head.system_fingerprint, &body);
  absl::StrAppend(&body, ",\"usage\":", ShownUsage(usage), ",\"kv_transfer_params\":null}");
  return body;
}

}  // namespace baton::gateway
