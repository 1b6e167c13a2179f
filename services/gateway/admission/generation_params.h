// How to generate: as a client asks for it, and complete as it is admitted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/structured_output/constraint.h"

namespace baton::gateway {

// What the answer's text must look like, and the field that says so.
struct RequestedConstraint {
  std::string field;
  structured::Constraint constraint;
  // Texts of it may begin with reasoning in its tags: where the prompt leaves that to the model it
  // holds from the first token, and not behind the reasoning.
  bool holds_reasoning = false;
};

struct TokenBias {
  int64_t token_id = 0;
  double bias = 0;
};

// What a request says, whatever its API. Unset: the model's default.
struct RequestedParams {
  std::optional<int64_t> max_tokens;
  std::optional<int64_t> min_tokens;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int64_t> top_k;  // -1 and 0: off
  std::optional<double> min_p;
  std::optional<double> presence_penalty;
  std::optional<double> frequency_penalty;
  std::optional<double> repetition_penalty;
  std::optional<uint64_t> seed;
  int64_t num_choices = 1;
  std::vector<std::string> stop;
  std::vector<int64_t> stop_token_ids;
  bool ignore_eos = false;
  bool include_stop = false;  // the stop string belongs to the text
  bool skip_special_tokens = true;
  std::optional<int64_t> num_top_logprobs;     // unset: no log-probabilities
  std::optional<int64_t> num_prompt_logprobs;  // the same for the prompt
  std::vector<TokenBias> logit_bias;
  std::optional<std::vector<int64_t>> allowed_token_ids;
  std::vector<std::string> bad_words;
  std::optional<int64_t> thinking_token_budget;  // -1: none
  int64_t priority = 0;
  std::string cache_salt;
  std::optional<RequestedConstraint> constraint;
  std::optional<int64_t> truncate_prompt_tokens;  // -1: what the context holds
  std::string truncation_side = "left";           // the end that is cut off

  // Under what names the API knows the fields that APIs name differently.
  std::string max_tokens_field = "max_tokens";
  std::string num_top_logprobs_field = "top_logprobs";
};

// What the model's generation_config.json says; else the neutral values.
struct SamplingDefaults {
  double temperature = 1;
  double top_p = 1;
  int64_t top_k = 0;
  double min_p = 0;
  double repetition_penalty = 1;
  std::optional<int64_t> max_new_tokens;
};

// The tokens around a model's reasoning.
struct ReasoningTokens {
  std::optional<uint32_t> begin;  // unset: only a prompt can begin it
  uint32_t end = 0;
};

// Bounds that come from the model.
struct ModelLimits {
  int64_t max_model_len = 0;                 // tokens of prompt and answer together
  int64_t vocab_size = 0;                    // number of logits
  std::vector<uint32_t> textless_token_ids;  // tokens that stand for no text, ascending
  std::optional<ReasoningTokens> reasoning;  // unset: the model does not reason, or has none
};

// Checked and complete: every value is in the range of protos/baton/v1/types.proto.
struct AdmittedParams {
  double temperature = 1;
  double top_p = 1;
  uint32_t top_k = 0;
  double min_p = 0;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  double repetition_penalty = 1;
  std::optional<uint64_t> seed;  // of the first choice; unset: to be drawn
  uint32_t num_choices = 1;
  std::optional<uint32_t> max_tokens;  // unset: what the context leaves
  uint32_t min_tokens = 0;
  std::vector<std::string> stop;
  std::vector<uint32_t> stop_token_ids;
  bool ignore_eos = false;
  bool include_stop = false;
  bool skip_special_tokens = true;
  std::optional<uint32_t> num_top_logprobs;
  std::optional<uint32_t> num_prompt_logprobs;
  std::vector<TokenBias> logit_bias;
  std::vector<uint32_t> allowed_token_ids;
  std::vector<std::string> bad_words;  // without white space before them, none empty
  std::optional<uint32_t> thinking_token_budget;
  int32_t priority = 0;
  std::string cache_salt;
  std::shared_ptr<const structured::Constraint> constraint;  // which compiles; null: none
  bool constraint_holds_reasoning = false;                   // as in RequestedConstraint
  std::string max_tokens_field;
  std::optional<size_t> truncate_prompt_tokens;  // at least 1
  bool truncate_left = true;                     // else the end of the prompt is cut off
};

}  // namespace baton::gateway
