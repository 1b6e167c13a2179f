#include "services/gateway/model/generation_config.h"

#include <cstdint>
#include <optional>

#include "common/status/status_macros.h"
#include "services/gateway/json/field_reader.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {

absl::StatusOr<SamplingDefaults> ParseGenerationConfig(absl::string_view json) {
  auto parsed = ParseStrictJson(json);
  if (!parsed.ok()) return Annotate(parsed.status(), "generation_config.json");
  if (!parsed->is_object()) {
    return absl::InvalidArgumentError("generation_config.json: must be an object");
  }
  FieldReader reader(*parsed);
  SamplingDefaults defaults;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  reader.Read("temperature", &temperature);
  reader.Read("top_p", &top_p);
  reader.Read("top_k", &defaults.top_k);
  reader.Read("min_p", &min_p);
  reader.Read("repetition_penalty", &repetition_penalty);
  reader.Read("max_new_tokens", &defaults.max_new_tokens);
  RETURN_IF_ERROR(Annotate(reader.status(), "generation_config.json"));
  defaults.temperature = temperature.value_or(defaults.temperature);
  defaults.top_p = top_p.value_or(defaults.top_p);
  defaults.min_p = min_p.value_or(defaults.min_p);
  defaults.repetition_penalty = repetition_penalty.value_or(defaults.repetition_penalty);
  return defaults;
}

}  // namespace baton::gateway
