#include "services/gateway/openai/completion_answer.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "services/gateway/http/sse.h"
#include "services/gateway/openai/answer_parts.h"

namespace baton::gateway {
namespace {

constexpr absl::string_view kObject = "text_completion";

}  // namespace

CompletionAnswer::CompletionAnswer(const Tokenizer& tokenizer, CompletionAnswerOptions options)
    : tokenizer_(tokenizer),
      options_(std::move(options)),
      prefix_(EventPrefix(options_.head, kObject)),
      choices_(options_.prompts.size() * options_.choices_per_prompt) {}

void CompletionAnswer::AddToken(const v1::PositionLogprobs& logprobs, Choice* choice,
                                LogprobLists* lists) const {
  const bool as_ids = options_.output.tokens_as_token_ids;
  const v1::TokenLogprob& token = logprobs.token();
  std::string name = TokenName(tokenizer_, token.token_id(), as_ids);
  lists->text_offset.push_back(choice->text_offset);
  choice->text_offset += CountCharacters(name);
  Json top = Json::object();
  for (const v1::TokenLogprob& other : logprobs.top()) {
    top[TokenName(tokenizer_, other.token_id(), as_ids)] = ClampLogprob(other.logprob());
  }
  top[name] = ClampLogprob(token.logprob());
  lists->token_logprobs.push_back(ClampLogprob(token.logprob()));
  lists->tokens.push_back(std::move(name));
  lists->top_logprobs.push_back(std::move(top));
}

void CompletionAnswer::AddFirstPromptToken(uint32_t token_id, Choice* choice,
                                           LogprobLists* lists) const {
  std::string name = TokenName(tokenizer_, token_id, options_.output.tokens_as_token_ids);
  lists->text_offset.push_back(choice->text_offset);
  choice->text_offset += CountCharacters(name);
  lists->token_logprobs.push_back(nullptr);  // nothing predicts it
  lists->tokens.push_back(std::move(name));
  lists->top_logprobs.push_back(nullptr);
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

Json CompletionAnswer::ToJson(LogprobLists&& lists) const {
  return {{"text_offset", std::move(lists.text_offset)},
          {"token_logprobs", std::move(lists.token_logprobs)},
          {"tokens", std::move(lists.tokens)},
          {"top_logprobs", std::move(lists.top_logprobs)}};
}

// --- Streamed ---

void CompletionAnswer::StreamUpdate(size_t index, const SequenceUpdate& update,
                                    const RequestUsage& usage, std::string* events) {
  Choice& choice = choices_[index];
  const bool first = !std::exchange(choice.begun, true);
  const bool ends = update.finish_reason != v1::FINISH_REASON_UNSPECIFIED;
  const bool carries_tokens =
      !update.tokens.empty() && (options_.logprobs || options_.output.return_token_ids);
  if (!first && !ends && !carries_tokens && update.content.empty()) return;

  std::string json = absl::StrCat(prefix_, "{\"index\":", index, ",\"text\":");
  std::string text = first && options_.echo ? PromptOf(index).text : "";
  if (!options_.echo_only) text.append(update.content);
  AppendJsonString(text, &json);
  json.append(",\"logprobs\":");
  if (options_.logprobs && !update.tokens.empty()) {
    LogprobLists lists;
    AddTokens(index, update, &lists);
    json.append(DumpJson(ToJson(std::move(lists))));
  } else {
    json.append("null");
  }
  absl::StrAppend(&json, ",\"finish_reason\":", DumpJson(FinishReasonJson(update.finish_reason)),
                  ",\"stop_reason\":", DumpJson(StopReasonJson(update)));
  if (options_.output.return_token_ids) {
    if (first) {
      absl::StrAppend(&json,
                      ",\"prompt_token_ids\":", DumpJson(TokenIdsJson(PromptOf(index).token_ids)));
    }
    absl::StrAppend(&json, ",\"token_ids\":", DumpJson(TokenIdsJson(update.tokens)));
  }
  json.append("}]");
  if (options_.stream.continuous_usage) {
    absl::StrAppend(&json, ",\"usage\":", DumpJson(UsageJson(usage, false)));
  }
  json.push_back('}');
  AppendSseEvent(json, events);
}

void CompletionAnswer::StreamEnd(const RequestUsage& usage, std::string* events) {
  if (options_.stream.include_usage) {
    AppendSseEvent(UsageEvent(options_.head, kObject, UsageJson(usage, false)), events);
  }
  events->append(kSseDone.data(), kSseDone.size());
}

// --- Whole ---

void CompletionAnswer::Collect(size_t index, SequenceUpdate& update) {
  Choice& choice = choices_[index];
  if (!std::exchange(choice.begun, true) && options_.echo) choice.text = PromptOf(index).text;
  if (!options_.echo_only) choice.text.append(update.content);
  if (options_.logprobs) AddTokens(index, update, &choice.logprobs);
  if (options_.output.return_token_ids && !options_.echo_only) {
    for (const auto& token : update.tokens) choice.token_ids.push_back(token.token_id());
  }
  if (options_.prompt_logprobs && !update.prompt_logprobs.empty()) {
    choice.prompt_logprobs = PromptLogprobsJson(tokenizer_, update.prompt_logprobs);
  }
  if (update.finish_reason == v1::FINISH_REASON_UNSPECIFIED) return;
  choice.finish_reason = FinishReasonJson(update.finish_reason);
  choice.stop_reason = StopReasonJson(update);
}

Json CompletionAnswer::ChoiceJson(size_t index) {
  Choice& choice = choices_[index];
  const bool ids = options_.output.return_token_ids;
  Json json = {{"index", index}, {"text", choice.text}, {"logprobs", nullptr}};
  if (options_.logprobs) json["logprobs"] = ToJson(std::move(choice.logprobs));
  json["finish_reason"] = options_.echo_only ? Json("length") : choice.finish_reason;
  json["stop_reason"] = options_.echo_only ? Json(nullptr) : choice.stop_reason;
  json["token_ids"] = ids ? TokenIdsJson(choice.token_ids) : Json(nullptr);
  json["prompt_logprobs"] = std::move(choice.prompt_logprobs);
  json["prompt_token_ids"] = ids ? TokenIdsJson(PromptOf(index).token_ids) : Json(nullptr);
  return json;
}

std::string CompletionAnswer::WholeBody(const RequestUsage& usage) {
  Json choices = Json::array();
  for (size_t i = 0; i < choices_.size(); ++i) choices.push_back(ChoiceJson(i));
  return DumpJson({{"id", options_.head.id},
                   {"object", kObject.data()},
                   {"created", options_.head.created_unix_seconds},
                   {"model", options_.head.model},
                   {"choices", std::move(choices)},
                   {"service_tier", nullptr},
                   {"system_fingerprint", options_.head.system_fingerprint},
                   {"usage", UsageJson(usage, false)},
                   {"kv_transfer_params", nullptr}});
}

}  // namespace baton::gateway
