// The one place that decides whether a generation request is admissible, for HTTP and gRPC alike.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "services/gateway/admission/constraint_checker.h"
#include "services/gateway/admission/generation_params.h"
#include "services/gateway/admission/request_caps.h"

namespace baton::gateway {

// Any thread.
class RequestValidator {
 public:
  RequestValidator(const SamplingDefaults& defaults, const ModelLimits& limits,
                   const RequestCaps& caps = {})
      : defaults_(defaults),
        vocab_size_(limits.vocab_size),
        constraints_(limits.textless_token_ids),
        reasons_(limits.reasoning.has_value()),
        caps_(caps),
        max_model_len_(limits.max_model_len) {}

  // Ranges of every parameter, defaults filled in; what constrains the text is compiled, unless
  // it was lately, which may take 200 ms: not for the loop. Errors: InvalidArgument naming the
  // field, its value and the range, or why it does not compile.
  absl::StatusOr<AdmittedParams> Admit(const RequestedParams& requested) const;

  // Whether a constraint is no larger than the caps and compiles within `limits`; Admit finds that
  // out, too, for all that one may cost, and both remember it. `cost`, if given, is set to what it
  // took, also where it is refused. As long and with the errors of Admit.
  absl::Status CheckConstraint(const RequestedConstraint& requested,
                               const structured::CompileLimits& limits = {},
                               structured::CompileCost* cost = nullptr) const;

  // Token ids that a client sent as a prompt, as the wire's type. Errors: as above.
  absl::StatusOr<std::vector<uint32_t>> AdmitPromptTokens(absl::string_view field,
                                                          absl::Span<const int64_t> ids) const;

  // The number of tokens to generate after a prompt of this length. Errors: InvalidArgument with
  // the counts (reason "context_length_exceeded") when the context cannot hold both, or when the
  // log-probabilities asked for such a prompt are too many. A count over max_model_len() may be
  // less than the true one.
  absl::StatusOr<uint32_t> ResolveMaxTokens(const AdmittedParams& params, absl::string_view field,
                                            size_t num_prompt_tokens) const;

  // How many tokens of a prompt can matter; and what of them is to be kept. True if TruncatePrompt
  // cut off the end, where the answer would begin.
  size_t NumPromptTokensUsed(const AdmittedParams& params) const;
  static bool TruncatePrompt(const AdmittedParams& params, std::vector<uint32_t>* ids);

  absl::Status CheckMessageCount(size_t count) const;
  absl::Status CheckPromptCount(size_t count) const;
  // Of a request with `num_choices` for each prompt.
  absl::Status CheckSequenceCount(size_t num_prompts, uint32_t num_choices) const;

  // The group may hold fewer tokens of a sequence than the model allows.
  void SetMaxModelLen(int64_t max_model_len) { max_model_len_.store(max_model_len); }
  int64_t max_model_len() const { return max_model_len_.load(); }
  int64_t vocab_size() const { return vocab_size_; }
  const RequestCaps& caps() const { return caps_; }
  // Whether the model reasons, as far as is known, and its reasoning can be ended.
  bool reasons() const { return reasons_; }

 private:
  absl::Status AdmitSampling(const RequestedParams& requested, AdmittedParams* admitted) const;
  absl::Status AdmitStops(const RequestedParams& requested, AdmittedParams* admitted) const;
  absl::Status AdmitLogprobs(const RequestedParams& requested, AdmittedParams* admitted) const;
  absl::Status CheckPromptLogprobs(const AdmittedParams& params, size_t num_prompt_tokens) const;
  absl::Status AdmitTruncation(const RequestedParams& requested, AdmittedParams* admitted) const;
  absl::Status AdmitTokenSets(const RequestedParams& requested, AdmittedParams* admitted) const;
  absl::Status AdmitBadWords(const RequestedParams& requested, AdmittedParams* admitted) const;
  absl::Status AdmitReasoning(const RequestedParams& requested, AdmittedParams* admitted) const;
  absl::Status AdmitConstraint(const RequestedParams& requested, AdmittedParams* admitted) const;
  absl::Status CheckTokenIds(absl::string_view field, absl::Span<const int64_t> ids) const;
  absl::Status CheckTopLogprobs(absl::string_view field, int64_t count) const;

  const SamplingDefaults defaults_;
  const int64_t vocab_size_;
  mutable ConstraintChecker constraints_;  // locks itself
  const bool reasons_;
  const RequestCaps caps_;
  std::atomic<int64_t> max_model_len_;
};

}  // namespace baton::gateway
