#include "services/gateway/admission/request_validator.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "common/sampling/sampling_limits.h"
#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

// Below it sampling would divide by almost nothing; requests from 1e-5 up to it are raised to it.
constexpr double kLeastTemperature = 0.01;
constexpr double kGreedyBelow = 1e-5;

struct Range {
  double low;
  double high;
};

absl::Status CheckRange(absl::string_view field, double value, const Range& range) {
  if (value >= range.low && value <= range.high) return absl::OkStatus();  // false for NaN
  return InvalidField(field,
                      absl::StrCat("must be in [", range.low, ", ", range.high, "], got ", value));
}

absl::Status CheckInteger(absl::string_view field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return InvalidField(field, absl::StrCat("must be in [", low, ", ", high, "], got ", value));
}

using Cap = int64_t RequestCaps::*;

std::string AtMost(const RequestCaps& caps, Cap cap) {
  return absl::StrCat("at most ", caps.*cap, " (", CapFlag(cap), ")");
}

// "holds 5 strings, at most 4 (--max-stop-strings) are allowed".
absl::Status CheckCount(absl::string_view field, size_t count, const RequestCaps& caps, Cap cap,
                        absl::string_view what) {
  if (count <= static_cast<size_t>(caps.*cap)) return absl::OkStatus();
  return InvalidField(
      field, absl::StrCat("holds ", count, " ", what, ", ", AtMost(caps, cap), " are allowed"));
}

// What a constraint is made of; whether it compiles is another question.
absl::Status CheckConstraintSize(absl::string_view field, const structured::Constraint& constraint,
                                 const RequestCaps& caps) {
  using structured::ConstraintKind;
  const size_t num_pattern_bytes = constraint.whitespace_pattern.value_or("").size();
  RETURN_IF_ERROR(CheckCount(field, num_pattern_bytes, caps, &RequestCaps::regex_bytes,
                             "bytes of a whitespace pattern"));
  size_t num_bytes = constraint.text.size();
  for (const std::string& choice : constraint.choices) num_bytes += choice.size();
  switch (constraint.kind) {
    case ConstraintKind::kJsonSchema:
      return CheckCount(field, num_bytes, caps, &RequestCaps::schema_bytes,
                        "bytes of a JSON schema");
    case ConstraintKind::kRegex:
      return CheckCount(field, num_bytes, caps, &RequestCaps::regex_bytes,
                        "bytes of a regular expression");
    case ConstraintKind::kChoice:
      return CheckCount(field, num_bytes, caps, &RequestCaps::grammar_bytes, "bytes of choices");
    default:
      return CheckCount(field, num_bytes, caps, &RequestCaps::grammar_bytes, "bytes of a grammar");
  }
}

constexpr int64_t kMaxCount = std::numeric_limits<int32_t>::max();

}  // namespace

absl::StatusOr<AdmittedParams> RequestValidator::Admit(const RequestedParams& requested) const {
  AdmittedParams admitted;
  RETURN_IF_ERROR(AdmitSampling(requested, &admitted));
  RETURN_IF_ERROR(AdmitStops(requested, &admitted));
  RETURN_IF_ERROR(AdmitLogprobs(requested, &admitted));
  RETURN_IF_ERROR(AdmitTokenSets(requested, &admitted));
  RETURN_IF_ERROR(AdmitBadWords(requested, &admitted));
  RETURN_IF_ERROR(AdmitReasoning(requested, &admitted));
  RETURN_IF_ERROR(AdmitConstraint(requested, &admitted));
  RETURN_IF_ERROR(AdmitTruncation(requested, &admitted));
  constexpr int64_t kLeastPriority = std::numeric_limits<int32_t>::min();
  if (requested.priority < kLeastPriority || requested.priority > kMaxCount) {
    return InvalidField("priority", absl::StrCat("must have 32 bits, from ", kLeastPriority, " to ",
                                                 kMaxCount, ", got ", requested.priority));
  }
  admitted.priority = static_cast<int32_t>(requested.priority);
  RETURN_IF_ERROR(CheckCount("cache_salt", requested.cache_salt.size(), caps_,
                             &RequestCaps::cache_salt_bytes, "bytes"));
  admitted.cache_salt = requested.cache_salt;
  return admitted;
}

absl::Status RequestValidator::AdmitSampling(const RequestedParams& requested,
                                             AdmittedParams* admitted) const {
  double temperature = requested.temperature.value_or(defaults_.temperature);
  RETURN_IF_ERROR(CheckRange("temperature", temperature, {0, 2}));
  if (temperature < kGreedyBelow) {
    temperature = 0;
  } else {
    temperature = std::max(temperature, kLeastTemperature);
  }
  admitted->temperature = temperature;

  admitted->top_p = requested.top_p.value_or(defaults_.top_p);
  // As the float that the stages get: a number too small for them would become 0.
  RETURN_IF_ERROR(CheckRange("top_p", static_cast<float>(admitted->top_p), {kLeastTopP, 1}));
  const int64_t top_k = requested.top_k.value_or(defaults_.top_k);
  RETURN_IF_ERROR(CheckInteger("top_k", top_k, -1, kMaxCount));
  admitted->top_k = static_cast<uint32_t>(std::max<int64_t>(top_k, 0));
  admitted->min_p = requested.min_p.value_or(defaults_.min_p);
  RETURN_IF_ERROR(CheckRange("min_p", admitted->min_p, {0, 1}));

  admitted->presence_penalty = requested.presence_penalty.value_or(0);
  RETURN_IF_ERROR(CheckRange("presence_penalty", admitted->presence_penalty, {-2, 2}));
  admitted->frequency_penalty = requested.frequency_penalty.value_or(0);
  RETURN_IF_ERROR(CheckRange("frequency_penalty", admitted->frequency_penalty, {-2, 2}));
  admitted->repetition_penalty =
      requested.repetition_penalty.value_or(defaults_.repetition_penalty);
  RETURN_IF_ERROR(CheckRange("repetition_penalty", static_cast<float>(admitted->repetition_penalty),
                             {kLeastRepetitionPenalty, kMaxRepetitionPenalty}));

  if (requested.num_choices < 1 || requested.num_choices > caps_.num_choices) {
    return InvalidField(
        "n", absl::StrCat("must be at least 1 and ", AtMost(caps_, &RequestCaps::num_choices),
                          ", got ", requested.num_choices));
  }
  admitted->num_choices = static_cast<uint32_t>(requested.num_choices);
  if (admitted->num_choices > 1 && temperature == 0) {
    return InvalidField("n", "must be 1 with temperature 0: all choices would be the same");
  }
  admitted->seed = requested.seed;
  return absl::OkStatus();
}

absl::Status RequestValidator::AdmitStops(const RequestedParams& requested,
                                          AdmittedParams* admitted) const {
  RETURN_IF_ERROR(
      CheckCount("stop", requested.stop.size(), caps_, &RequestCaps::stop_strings, "strings"));
  for (const std::string& stop : requested.stop) {
    if (stop.empty()) return InvalidField("stop", "must not hold an empty string");
    RETURN_IF_ERROR(CheckCount("stop", stop.size(), caps_, &RequestCaps::stop_string_bytes,
                               "bytes in a string"));
  }
  admitted->stop = requested.stop;
  admitted->include_stop = requested.include_stop;
  admitted->skip_special_tokens = requested.skip_special_tokens;

  RETURN_IF_ERROR(CheckCount("stop_token_ids", requested.stop_token_ids.size(), caps_,
                             &RequestCaps::stop_token_ids, "ids"));
  RETURN_IF_ERROR(CheckTokenIds("stop_token_ids", requested.stop_token_ids));
  admitted->stop_token_ids.assign(requested.stop_token_ids.begin(), requested.stop_token_ids.end());
  admitted->ignore_eos = requested.ignore_eos;

  const int64_t min_tokens = requested.min_tokens.value_or(0);
  RETURN_IF_ERROR(CheckInteger("min_tokens", min_tokens, 0, kMaxCount));
  admitted->min_tokens = static_cast<uint32_t>(min_tokens);
  admitted->max_tokens_field = requested.max_tokens_field;
  if (requested.max_tokens) {
    if (*requested.max_tokens < 1) {
      return InvalidField(requested.max_tokens_field,
                          absl::StrCat("must be at least 1, got ", *requested.max_tokens));
    }
    RETURN_IF_ERROR(CheckInteger(requested.max_tokens_field, *requested.max_tokens, 1, kMaxCount));
    admitted->max_tokens = static_cast<uint32_t>(*requested.max_tokens);
    if (min_tokens > *requested.max_tokens) {
      return InvalidField("min_tokens",
                          absl::StrCat("must be at most ", requested.max_tokens_field, "=",
                                       *requested.max_tokens, ", got ", min_tokens));
    }
  }
  return absl::OkStatus();
}

absl::Status RequestValidator::AdmitLogprobs(const RequestedParams& requested,
                                             AdmittedParams* admitted) const {
  if (requested.num_top_logprobs) {
    RETURN_IF_ERROR(
        CheckTopLogprobs(requested.num_top_logprobs_field, *requested.num_top_logprobs));
    admitted->num_top_logprobs = static_cast<uint32_t>(*requested.num_top_logprobs);
  }
  if (requested.num_prompt_logprobs) {
    RETURN_IF_ERROR(CheckTopLogprobs("prompt_logprobs", *requested.num_prompt_logprobs));
    admitted->num_prompt_logprobs = static_cast<uint32_t>(*requested.num_prompt_logprobs);
  }
  return absl::OkStatus();
}

absl::Status RequestValidator::CheckTopLogprobs(absl::string_view field, int64_t count) const {
  if (count >= 0 && count <= caps_.num_top_logprobs) return absl::OkStatus();
  return InvalidField(
      field, absl::StrCat("must be at least 0 and ", AtMost(caps_, &RequestCaps::num_top_logprobs),
                          ", got ", count, count == -1 ? ", the whole vocabulary" : ""));
}

absl::Status RequestValidator::AdmitTruncation(const RequestedParams& requested,
                                               AdmittedParams* admitted) const {
  if (requested.truncation_side != "left" && requested.truncation_side != "right") {
    return InvalidField("truncation_side", "must be left or right");
  }
  admitted->truncate_left = requested.truncation_side == "left";
  if (!requested.truncate_prompt_tokens) return absl::OkStatus();
  const int64_t most = max_model_len_.load();
  int64_t kept = *requested.truncate_prompt_tokens;
  RETURN_IF_ERROR(CheckInteger("truncate_prompt_tokens", kept, -1, most));
  // As much as leaves room for the answer.
  if (kept == -1) kept = most - std::min<int64_t>(admitted->max_tokens.value_or(1), most - 1);
  if (kept == 0) return InvalidField("truncate_prompt_tokens", "must not be 0");
  admitted->truncate_prompt_tokens = static_cast<size_t>(kept);
  return absl::OkStatus();
}

size_t RequestValidator::NumPromptTokensUsed(const AdmittedParams& params) const {
  return params.truncate_prompt_tokens ? SIZE_MAX : static_cast<size_t>(max_model_len_.load());
}

bool RequestValidator::TruncatePrompt(const AdmittedParams& params, std::vector<uint32_t>* ids) {
  if (!params.truncate_prompt_tokens || ids->size() <= *params.truncate_prompt_tokens) return false;
  const size_t excess = ids->size() - *params.truncate_prompt_tokens;
  if (params.truncate_left) {
    ids->erase(ids->begin(), ids->begin() + static_cast<std::ptrdiff_t>(excess));
    return false;
  }
  ids->resize(ids->size() - excess);
  return true;
}

absl::Status RequestValidator::AdmitTokenSets(const RequestedParams& requested,
                                              AdmittedParams* admitted) const {
  RETURN_IF_ERROR(CheckCount("logit_bias", requested.logit_bias.size(), caps_,
                             &RequestCaps::logit_biases, "tokens"));
  for (const TokenBias& entry : requested.logit_bias) {
    RETURN_IF_ERROR(CheckTokenIds("logit_bias", absl::MakeConstSpan(&entry.token_id, 1)));
    if (!std::isfinite(entry.bias)) return InvalidField("logit_bias", "must hold finite numbers");
    admitted->logit_bias.push_back({entry.token_id, std::clamp(entry.bias, -100.0, 100.0)});
  }
  if (!requested.allowed_token_ids) return absl::OkStatus();
  if (requested.allowed_token_ids->empty()) {
    return InvalidField("allowed_token_ids", "must not be empty");
  }
  RETURN_IF_ERROR(CheckCount("allowed_token_ids", requested.allowed_token_ids->size(), caps_,
                             &RequestCaps::allowed_token_ids, "ids"));
  RETURN_IF_ERROR(CheckTokenIds("allowed_token_ids", *requested.allowed_token_ids));
  admitted->allowed_token_ids.assign(requested.allowed_token_ids->begin(),
                                     requested.allowed_token_ids->end());
  return absl::OkStatus();
}

absl::Status RequestValidator::AdmitBadWords(const RequestedParams& requested,
                                             AdmittedParams* admitted) const {
  RETURN_IF_ERROR(
      CheckCount("bad_words", requested.bad_words.size(), caps_, &RequestCaps::bad_words, "words"));
  for (absl::string_view word : requested.bad_words) {
    word = absl::StripLeadingAsciiWhitespace(word);
    if (word.empty()) return InvalidField("bad_words", "must not hold an empty word");
    RETURN_IF_ERROR(CheckCount("bad_words", word.size(), caps_, &RequestCaps::bad_word_bytes,
                               "bytes in a word"));
    admitted->bad_words.emplace_back(word);
  }
  return absl::OkStatus();
}

absl::Status RequestValidator::AdmitReasoning(const RequestedParams& requested,
                                              AdmittedParams* admitted) const {
  const int64_t budget = requested.thinking_token_budget.value_or(-1);
  RETURN_IF_ERROR(CheckInteger("thinking_token_budget", budget, -1, kMaxCount));
  if (budget == -1) return absl::OkStatus();
  if (!reasons_) {
    return InvalidField("thinking_token_budget",
                        "cannot be used: this model is served without a reasoning parser, or has "
                        "no token that ends its reasoning");
  }
  admitted->thinking_token_budget = static_cast<uint32_t>(budget);
  return absl::OkStatus();
}

absl::Status RequestValidator::AdmitConstraint(const RequestedParams& requested,
                                               AdmittedParams* admitted) const {
  if (!requested.constraint) return absl::OkStatus();
  RETURN_IF_ERROR(CheckConstraint(*requested.constraint));
  admitted->constraint =
      std::make_shared<const structured::Constraint>(requested.constraint->constraint);
  admitted->constraint_holds_reasoning = requested.constraint->holds_reasoning;
  return absl::OkStatus();
}

absl::Status RequestValidator::CheckConstraint(const RequestedConstraint& requested,
                                               const structured::CompileLimits& limits,
                                               structured::CompileCost* cost) const {
  if (cost != nullptr) *cost = {};
  RETURN_IF_ERROR(CheckConstraintSize(requested.field, requested.constraint, caps_));
  return constraints_.Check(requested.field, requested.constraint, limits, cost);
}

absl::Status RequestValidator::CheckTokenIds(absl::string_view field,
                                             absl::Span<const int64_t> ids) const {
  for (int64_t id : ids) {
    if (id >= 0 && id < vocab_size_) continue;
    return InvalidField(field, absl::StrCat("holds token id ", id, ", the vocabulary has ids 0 to ",
                                            vocab_size_ - 1));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint32_t>> RequestValidator::AdmitPromptTokens(
    absl::string_view field, absl::Span<const int64_t> ids) const {
  if (ids.empty()) return InvalidField(field, "must not be empty");
  RETURN_IF_ERROR(CheckTokenIds(field, ids));
  return std::vector<uint32_t>(ids.begin(), ids.end());
}

absl::StatusOr<uint32_t> RequestValidator::ResolveMaxTokens(const AdmittedParams& params,
                                                            absl::string_view field,
                                                            size_t num_prompt_tokens) const {
  const auto length = static_cast<int64_t>(num_prompt_tokens);
  const int64_t max_model_len = max_model_len_.load();
  if (length == 0) return InvalidField(field, "must not be empty");
  const auto too_long = [&](absl::string_view culprit, absl::string_view detail) {
    absl::Status status = absl::InvalidArgumentError(
        absl::StrCat("This model's maximum context length is ", max_model_len, " tokens. ", detail,
                     " Please reduce the length of the prompt or of the completion."));
    return WithReason(WithRefusedField(std::move(status), culprit), "context_length_exceeded");
  };
  const int64_t room = max_model_len - length;
  if (room < 1) {
    return too_long(
        field, absl::StrCat("However, your prompt has ", length > max_model_len ? "at least " : "",
                            length, " tokens."));
  }
  RETURN_IF_ERROR(CheckPromptLogprobs(params, num_prompt_tokens));
  if (!params.max_tokens) {
    const int64_t most = defaults_.max_new_tokens.value_or(room);
    const auto resolved = static_cast<uint32_t>(std::clamp<int64_t>(most, 1, room));
    if (params.min_tokens > resolved) {
      return too_long(
          "min_tokens",
          absl::StrCat("However, you requested at least ", length + params.min_tokens, " tokens (",
                       length, " in the prompt, ", params.min_tokens, " for the completion)."));
    }
    return resolved;
  }
  if (*params.max_tokens > room) {
    return too_long(
        params.max_tokens_field,
        absl::StrCat("However, you requested ", length + *params.max_tokens, " tokens (", length,
                     " in the prompt, ", *params.max_tokens, " for the completion)."));
  }
  return *params.max_tokens;
}

absl::Status RequestValidator::CheckPromptLogprobs(const AdmittedParams& params,
                                                   size_t num_prompt_tokens) const {
  if (!params.num_prompt_logprobs) return absl::OkStatus();
  const size_t per_token = *params.num_prompt_logprobs + size_t{1};  // the token's own
  const auto most = static_cast<size_t>(caps_.prompt_logprobs);
  if (num_prompt_tokens <= most / per_token) return absl::OkStatus();
  return InvalidField(
      "prompt_logprobs",
      absl::StrCat("asks for ", num_prompt_tokens * per_token, " log-probabilities (",
                   num_prompt_tokens, " prompt tokens, ", per_token, " for each), ",
                   AtMost(caps_, &RequestCaps::prompt_logprobs), " can be delivered"));
}

absl::Status RequestValidator::CheckMessageCount(size_t count) const {
  if (count == 0) return InvalidField("messages", "must hold at least one message");
  return CheckCount("messages", count, caps_, &RequestCaps::messages, "messages");
}

absl::Status RequestValidator::CheckPromptCount(size_t count) const {
  if (count == 0) return InvalidField("prompt", "must not be empty");
  return CheckCount("prompt", count, caps_, &RequestCaps::prompts, "prompts");
}

absl::Status RequestValidator::CheckSequenceCount(size_t num_prompts, uint32_t num_choices) const {
  const auto most = static_cast<size_t>(caps_.sequences);
  if (num_prompts * num_choices <= most) return absl::OkStatus();
  return InvalidField(
      "n", absl::StrCat("makes ", num_prompts * num_choices, " sequences of ", num_prompts,
                        " prompts, ", AtMost(caps_, &RequestCaps::sequences), " are allowed"));
}

}  // namespace baton::gateway
