// From an admitted request to the sequences that the scheduler runs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "services/gateway/admission/api_keys.h"
#include "services/gateway/admission/generation_params.h"
#include "services/gateway/generation/generate_call.h"
#include "services/gateway/metrics/sequence_meter.h"
#include "services/gateway/model/prompt_encoder.h"
#include "services/gateway/model/served_model.h"
#include "services/gateway/text/stop_strings.h"

namespace baton::gateway {

// What is known of a request beside its parameters.
struct RequestScope {
  std::string id;
  ApiCaller caller;
  std::optional<int32_t> priority;  // of its headers; counts if the parameters have none
  absl::Time arrival;               // the date
  MonotonicTime arrival_tick;  // the same moment, on the clock that intervals are measured with
  absl::Time deadline = absl::InfiniteFuture();  // of SteadyNow()
  TraceContext trace;
};

struct SequenceContext {
  RequestScope scope;
  bool split_reasoning = false;  // as the model's reasoning format says
  bool find_tool_calls = false;  // in the model's syntax
  bool parallel_tool_calls = true;
  std::shared_ptr<const StopAutomaton> stops;
};

// One for all sequences of a request; null if it has no stop strings.
std::shared_ptr<const StopAutomaton> MakeStops(const AdmittedParams& params);

// Appends one sequence per choice for this prompt. Choice i of a seeded request samples with seed
// + i; without a seed each choice draws its own. Errors: as Tokenizer::Encode, of words.
absl::Status AppendSequences(const ServedModel& model, const AdmittedParams& params,
                             const EncodedPrompt& prompt, uint32_t max_tokens,
                             const SequenceContext& context, std::vector<SequenceSpec>* sequences);

}  // namespace baton::gateway
