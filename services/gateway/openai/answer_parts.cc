#include "services/gateway/openai/answer_parts.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace baton::gateway {

std::string UsageJson(const RequestUsage& usage, bool with_reasoning) {
  std::string json = absl::StrCat(
      "{\"prompt_tokens\":", usage.num_prompt_tokens, ",\"total_tokens\":", usage.num_tokens(),
      ",\"completion_tokens\":", usage.num_generated_tokens,
      ",\"prompt_tokens_details\":{\"cached_tokens\":", usage.num_cached_tokens, "}");
  if (with_reasoning) {
    absl::StrAppend(&json, ",\"completion_tokens_details\":{\"reasoning_tokens\":",
                    usage.num_reasoning_tokens, "}");
  }
  json.push_back('}');
  return json;
}

Json FinishReasonJson(AnswerEnd end) {
  switch (end) {
    case AnswerEnd::kNone:
      return nullptr;
    case AnswerEnd::kStop:
      return "stop";
    case AnswerEnd::kToolCalls:
      return "tool_calls";
    case AnswerEnd::kLength:
      return "length";
  }
  return nullptr;
}

Json StopReasonJson(const ChoiceEnd& end) {
  if (!end.stop_string().empty()) return end.stop_string();
  if (end.stop_token_id()) return *end.stop_token_id();
  return nullptr;
}

std::string TokenName(const Tokenizer& tokenizer, uint32_t token_id, bool as_token_id) {
  if (as_token_id) return absl::StrCat("token_id:", token_id);
  return tokenizer.TokenText(token_id);
}

double ClampLogprob(double logprob) {
  return std::isnan(logprob) ? -9999.0 : std::clamp(logprob, -9999.0, 0.0);
}

std::string PromptLogprobsJson(const Tokenizer& tokenizer,
                               const std::vector<v1::PositionLogprobs>& positions) {
  std::string items = "null";  // nothing predicts the first token
  for (const v1::PositionLogprobs& position : positions) {
    Json entry = Json::object();
    const auto add = [&](const v1::TokenLogprob& token) {
      entry[absl::StrCat(token.token_id())] = {
          {"logprob", ClampLogprob(token.logprob())},
          {"rank", token.rank()},
          {"decoded_token", tokenizer.TokenText(token.token_id())}};
    };
    add(position.token());
    for (const v1::TokenLogprob& top : position.top()) add(top);
    AppendItem(DumpJson(entry), &items);
  }
  return absl::StrCat("[", items, "]");
}

void AppendItem(absl::string_view json, std::string* items) {
  absl::StrAppend(items, items->empty() ? "" : ",", json);
}

std::string TokenIdsText(absl::Span<const uint32_t> ids) {
  return absl::StrCat("[", absl::StrJoin(ids, ","), "]");
}

Json TokenIdsJson(absl::Span<const uint32_t> ids) {
  Json list = Json::array();
  for (uint32_t id : ids) list.push_back(id);
  return list;
}

Json TokenIdsJson(const std::vector<v1::GeneratedToken>& tokens) {
  Json list = Json::array();
  for (const v1::GeneratedToken& token : tokens) list.push_back(token.token_id());
  return list;
}

std::string EventPrefix(const AnswerHead& head, absl::string_view object) {
  std::string prefix = "{\"id\":";
  AppendJsonString(head.id, &prefix);
  absl::StrAppend(&prefix, ",\"object\":\"", object, "\",\"created\":", head.created_unix_seconds,
                  ",\"model\":");
  AppendJsonString(head.model, &prefix);
  prefix.append(",\"choices\":[");
  return prefix;
}

std::string UsageEvent(const AnswerHead& head, absl::string_view object, absl::string_view usage) {
  return absl::StrCat(EventPrefix(head, object), "],\"usage\":", usage, "}");
}

size_t CountCharacters(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace baton::gateway
