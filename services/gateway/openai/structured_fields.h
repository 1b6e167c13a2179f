// The fields that say what an answer's text must look like, present and former ones.
#pragma once

#include "services/gateway/admission/generation_params.h"
#include "services/gateway/json/field_reader.h"

namespace baton::gateway {

// response_format, structured_outputs, and vLLM's former guided_json, guided_regex, guided_choice,
// guided_grammar, guided_whitespace_pattern (guided_decoding_backend changes nothing here: there is
// one). More than one constraint in all is an error. Whether it compiles is the validator's to say.
void ReadStructuredFields(FieldReader& reader, RequestedParams* params);

}  // namespace baton::gateway
