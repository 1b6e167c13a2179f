// The model's own sampling defaults: generation_config.json.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "services/gateway/admission/generation_params.h"

namespace baton::gateway {

// Absent keys keep the neutral values; keys that have no meaning here are ignored. Errors:
// InvalidArgument naming a key whose value has a wrong type.
absl::StatusOr<SamplingDefaults> ParseGenerationConfig(absl::string_view json);

}  // namespace baton::gateway
