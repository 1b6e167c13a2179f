#include "services/scheduler/calls/submit_limits.h"

#include <string>

#include "absl/strings/str_cat.h"

#include "common/rpc/connection_limits.h"
#include "common/rpc/peer.h"
#include "common/sampling_ranges/sampling_ranges.h"
#include "common/status/status_macros.h"

namespace baton::scheduler {
namespace {

constexpr size_t kMaxRequestIdBytes = 256;
constexpr size_t kMaxFairnessKeyBytes = 64;
constexpr uint32_t kMaxFairnessWeight = 1000;
constexpr size_t kMaxCacheSaltBytes = 256;
constexpr int kMaxStopTokens = 1024;
// All of a prompt's log-probabilities are sent with the first token, in one message. The rest of
// that message is small.
constexpr uint64_t kMaxPromptLogprobBytes = kMaxReceiveBytes - (64 << 10);
// An encoded TokenLogprob at most, within its list: two ids of 5 bytes, a float, tags and length.
constexpr uint64_t kTokenLogprobBytes = 19;
constexpr uint64_t kPositionBytes = 4;  // tag and length of a PositionLogprobs

absl::Status CheckLength(const char* name, size_t length, size_t most) {
  if (length <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " has ", length, " bytes; at most ", most));
}

absl::Status CheckCount(const char* name, uint64_t count, uint64_t most) {
  if (count <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " is ", count, "; at most ", most));
}

absl::Status CheckToken(const char* name, uint32_t token, uint32_t vocab_size) {
  if (token < vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": token ", token, " is outside the vocabulary of ", vocab_size, " tokens"));
}

absl::Status CheckTokenLists(const v1::SubmitRequest& request, uint32_t vocab_size) {
  const v1::SamplingParams& sampling = request.sampling();
  for (const v1::LogitBias& bias : sampling.logit_bias()) {
    RETURN_IF_ERROR(CheckToken("logit_bias", bias.token_id(), vocab_size));
  }
  for (uint32_t token : sampling.allowed_token_ids()) {
    RETURN_IF_ERROR(CheckToken("allowed_token_ids", token, vocab_size));
  }
  for (const v1::TokenSequence& sequence : sampling.banned_sequences()) {
    for (uint32_t token : sequence.token_ids()) {
      RETURN_IF_ERROR(CheckToken("banned_sequences", token, vocab_size));
    }
  }
  if (sampling.has_reasoning_budget()) {
    const v1::ReasoningBudget& budget = sampling.reasoning_budget();
    RETURN_IF_ERROR(CheckToken("reasoning_budget", budget.end_token_id(), vocab_size));
    RETURN_IF_ERROR(CheckToken("reasoning_budget", budget.begin_after_token_id(), vocab_size));
  }
  RETURN_IF_ERROR(CheckCount("number of stop_token_ids",
                             static_cast<uint64_t>(request.stop().stop_token_ids_size()),
                             kMaxStopTokens));
  return absl::OkStatus();
}

absl::Status CheckPromptLogprobs(const v1::SubmitRequest& request) {
  if (!request.sampling().has_num_prompt_logprobs()) return absl::OkStatus();
  const uint64_t per_token = request.sampling().num_prompt_logprobs() + uint64_t{1};
  const auto num_tokens = static_cast<uint64_t>(request.prompt_token_ids_size());
  const uint64_t bytes = num_tokens * (kPositionBytes + per_token * kTokenLogprobBytes);
  if (bytes <= kMaxPromptLogprobBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("num_prompt_logprobs: ", per_token, " log-probabilities for each of ",
                   num_tokens, " prompt tokens can take ", bytes, " bytes; one answer carries ",
                   "at most ", kMaxPromptLogprobBytes));
}

}  // namespace

absl::Status CheckSubmitRequest(const v1::SubmitRequest& request, uint32_t vocab_size) {
  RETURN_IF_ERROR(CheckPeer(request.peer(), "scheduler"));
  RETURN_IF_ERROR(CheckLength("request_id", request.request_id().size(), kMaxRequestIdBytes));
  RETURN_IF_ERROR(CheckLength("fairness_key", request.fairness_key().size(), kMaxFairnessKeyBytes));
  RETURN_IF_ERROR(CheckCount("fairness_weight", request.fairness_weight(), kMaxFairnessWeight));
  RETURN_IF_ERROR(CheckLength("cache_salt", request.cache_salt().size(), kMaxCacheSaltBytes));
  RETURN_IF_ERROR(CheckSamplingRanges(request.sampling()));
  RETURN_IF_ERROR(CheckPromptLogprobs(request));
  return CheckTokenLists(request, vocab_size);
}

}  // namespace baton::scheduler
