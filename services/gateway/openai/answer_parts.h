// Pieces of JSON that chat and text completion answers share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "common/tokenizer/tokenizer.h"
#include "protos/baton/v1/types.pb.h"
#include "services/gateway/answers/answer_writer.h"
#include "services/gateway/answers/collected_choice.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {

// {"prompt_tokens", "total_tokens", "completion_tokens", "prompt_tokens_details", ...}.
std::string UsageJson(const RequestUsage& usage, bool with_reasoning);

// "stop", "tool_calls" or "length"; null while the choice goes on.
Json FinishReasonJson(AnswerEnd end);
// The stop string or stop token; null if neither ended the choice.
Json StopReasonJson(const ChoiceEnd& end);

// Text of a token in log-probabilities, or "token_id:7".
std::string TokenName(const Tokenizer& tokenizer, uint32_t token_id, bool as_token_id);
// Never below -9999: JSON has no infinity.
double ClampLogprob(double logprob);

// Whole answers are kept as the JSON text that they will be: a tree of values takes some ten times
// the memory, and log-probabilities are many.

// [null, {"<id>": {"logprob", "rank", "decoded_token"}, ...}, ...], one per prompt token.
std::string PromptLogprobsJson(const Tokenizer& tokenizer,
                               const std::vector<v1::PositionLogprobs>& positions);

// Adds an item to the text between the brackets of a list.
void AppendItem(absl::string_view json, std::string* items);

// [1, 2, 3]
std::string TokenIdsText(absl::Span<const uint32_t> ids);
Json TokenIdsJson(absl::Span<const uint32_t> ids);
Json TokenIdsJson(const std::vector<v1::GeneratedToken>& tokens);

// `{"id":...,"object":`object`,"created":...,"model":...,"choices":[`: how every event begins.
std::string EventPrefix(const AnswerHead& head, absl::string_view object);
// The event that carries the usage after all choices.
std::string UsageEvent(const AnswerHead& head, absl::string_view object, absl::string_view usage);

// Number of Unicode characters of valid UTF-8.
size_t CountCharacters(absl::string_view text);

}  // namespace baton::gateway
