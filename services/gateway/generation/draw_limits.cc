#include "services/gateway/generation/draw_limits.h"

#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "services/gateway/admission/generation_params.h"

namespace baton::gateway {
namespace {

// Whether the last tag of the turn that the answer belongs to opens the reasoning. As in
// prompt_encoder, earlier turns end with an end-of-sequence token.
bool EndsInReasoning(const ServedModel& model, const ReasoningTokens& reasoning,
                     absl::Span<const uint32_t> prompt) {
  const auto last = std::find_if(prompt.rbegin(), prompt.rend(), [&](uint32_t token) {
    return token == reasoning.begin || token == reasoning.end ||
           model.eos_token_ids.contains(token);
  });
  return last != prompt.rend() && reasoning.begin == *last;
}

}  // namespace

absl::Status FillBannedSequences(const Tokenizer& tokenizer, absl::Span<const std::string> words,
                                 v1::SamplingParams* sampling) {
  for (const std::string& word : words) {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> plain, tokenizer.Encode(word));
    ASSIGN_OR_RETURN(const std::vector<uint32_t> spaced, tokenizer.Encode(absl::StrCat(" ", word)));
    for (const std::set<std::vector<uint32_t>> both = {plain, spaced}; const auto& tokens : both) {
      sampling->add_banned_sequences()->mutable_token_ids()->Add(tokens.begin(), tokens.end());
    }
  }
  return absl::OkStatus();
}

void FillReasoningBudget(const ServedModel& model, uint32_t budget, const EncodedPrompt& prompt,
                         v1::SamplingParams* sampling) {
  if (!model.limits.reasoning) return;
  const ReasoningTokens& reasoning = *model.limits.reasoning;
  const bool begun = prompt.reasoning == PromptReasoning::kOpen ||
                     EndsInReasoning(model, reasoning, prompt.token_ids);
  if (!begun && !reasoning.begin) return;
  v1::ReasoningBudget* out = sampling->mutable_reasoning_budget();
  out->set_num_tokens(budget);
  out->set_end_token_id(reasoning.end);
  if (!begun) out->set_begin_after_token_id(*reasoning.begin);
}

}  // namespace baton::gateway
