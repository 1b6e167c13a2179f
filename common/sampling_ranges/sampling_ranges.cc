#include "common/sampling_ranges/sampling_ranges.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#include "common/sampling/sampling_limits.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

absl::Status CheckRange(absl::string_view field, float value, float low, float high) {
  if (value >= low && value <= high) return absl::OkStatus();  // false for NaN
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", value, "; allowed: ", low, " to ", high));
}

absl::Status CheckCount(absl::string_view field, uint64_t count, uint64_t most) {
  if (count <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", count, "; at most ", most));
}

absl::Status CheckStructuredOutput(const v1::StructuredOutput& output) {
  if (output.kind() < v1::StructuredOutput::KIND_JSON_OBJECT ||
      output.kind() > v1::StructuredOutput::KIND_GRAMMAR) {
    return absl::InvalidArgumentError(
        absl::StrCat("structured_output has the unknown kind ", static_cast<int>(output.kind())));
  }
  uint64_t choice_bytes = 0;
  for (const std::string& choice : output.choices()) choice_bytes += choice.size();
  RETURN_IF_ERROR(
      CheckCount("bytes of a structured_output's text", output.text().size(), kMaxConstraintBytes));
  RETURN_IF_ERROR(
      CheckCount("bytes of a structured_output's choices", choice_bytes, kMaxConstraintBytes));
  RETURN_IF_ERROR(CheckCount("bytes of a structured_output's whitespace_pattern",
                             output.whitespace_pattern().size(), kMaxWhitespacePatternBytes));
  if (output.end_token_ids_size() == 0) {
    return absl::InvalidArgumentError("structured_output has no end_token_ids");
  }
  return CheckCount("number of a structured_output's end_token_ids",
                    static_cast<uint64_t>(output.end_token_ids_size()), kMaxEndTokens);
}

absl::Status CheckBannedSequences(const v1::SamplingParams& params) {
  uint64_t num_tokens = 0;
  for (const v1::TokenSequence& sequence : params.banned_sequences()) {
    if (sequence.token_ids().empty()) {
      return absl::InvalidArgumentError("banned_sequences holds one without tokens");
    }
    num_tokens += static_cast<uint64_t>(sequence.token_ids_size());
  }
  RETURN_IF_ERROR(CheckCount("number of banned_sequences",
                             static_cast<uint64_t>(params.banned_sequences_size()),
                             kMaxBannedSequences));
  return CheckCount("number of tokens in banned_sequences", num_tokens, kMaxBannedTokens);
}

}  // namespace

absl::Status CheckSamplingRanges(const v1::SamplingParams& params) {
  RETURN_IF_ERROR(CheckRange("temperature", params.temperature(), 0.0f, kMaxTemperature));
  RETURN_IF_ERROR(CheckRange("top_p", params.top_p(), kLeastTopP, 1.0f));
  RETURN_IF_ERROR(CheckRange("min_p", params.min_p(), 0.0f, 1.0f));
  RETURN_IF_ERROR(
      CheckRange("presence_penalty", params.presence_penalty(), -kMaxPenalty, kMaxPenalty));
  RETURN_IF_ERROR(
      CheckRange("frequency_penalty", params.frequency_penalty(), -kMaxPenalty, kMaxPenalty));
  RETURN_IF_ERROR(CheckRange("repetition_penalty", params.repetition_penalty(),
                             kLeastRepetitionPenalty, kMaxRepetitionPenalty));
  RETURN_IF_ERROR(CheckCount("num_top_logprobs", params.num_top_logprobs(), kMaxTopLogprobs));
  RETURN_IF_ERROR(CheckCount("num_prompt_logprobs", params.num_prompt_logprobs(), kMaxTopLogprobs));
  RETURN_IF_ERROR(CheckCount("number of logit_bias entries",
                             static_cast<uint64_t>(params.logit_bias_size()), kMaxLogitBiases));
  for (const v1::LogitBias& bias : params.logit_bias()) {
    RETURN_IF_ERROR(CheckRange("logit_bias", bias.bias(), -kMaxLogitBias, kMaxLogitBias));
  }
  RETURN_IF_ERROR(CheckCount("number of allowed_token_ids",
                             static_cast<uint64_t>(params.allowed_token_ids_size()),
                             kMaxAllowedTokens));
  RETURN_IF_ERROR(CheckCount("number of masked_token_ids",
                             static_cast<uint64_t>(params.masked_token_ids_size()),
                             kMaxMaskedTokens));
  RETURN_IF_ERROR(CheckBannedSequences(params));
  if (!params.has_structured_output()) return absl::OkStatus();
  return CheckStructuredOutput(params.structured_output());
}

}  // namespace baton
