// Words and reasoning, as a request limits them, in tokens: for the last stage, which draws them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"

#include "common/tokenizer/tokenizer.h"
#include "protos/baton/v1/types.pb.h"
#include "services/gateway/model/prompt_encoder.h"
#include "services/gateway/model/served_model.h"

namespace baton::gateway {

// The tokens of each word, and those with a blank before it, if they are others. Errors: as
// Tokenizer::Encode.
absl::Status FillBannedSequences(const Tokenizer& tokenizer, absl::Span<const std::string> words,
                                 v1::SamplingParams* sampling);

// Sets the budget unless the answer to this prompt has no reasoning that it could bound.
void FillReasoningBudget(const ServedModel& model, uint32_t budget, const EncodedPrompt& prompt,
                         v1::SamplingParams* sampling);

}  // namespace baton::gateway
