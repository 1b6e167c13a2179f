// Fields that chat and text completion requests share.
#pragma once

#include <string>

#include "absl/types/span.h"

#include "services/gateway/admission/generation_params.h"
#include "services/gateway/json/field_reader.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {

struct StreamFields {
  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;
};

// How the answer is to be written.
struct OutputFields {
  bool return_token_ids = false;
  bool tokens_as_token_ids = false;  // "token_id:7" in log-probabilities in place of the text
};

// A field that this server knows but cannot honour. `neutral`: JSON of the value that asks for
// nothing; empty if there is none.
struct UnsupportedField {
  const char* name;
  const char* neutral;
};

// All record the first error in `reader`.
void ReadSamplingFields(FieldReader& reader, RequestedParams* params);
StreamFields ReadStreamFields(FieldReader& reader);
OutputFields ReadOutputFields(FieldReader& reader);
// Refuses a request that sets one of the fields common to both APIs, or one of `more`, to other
// than its neutral value.
void RefuseUnsupportedFields(FieldReader& reader, absl::Span<const UnsupportedField> more);
// Fields without meaning here are accepted; they are named in the debug log.
void LogIgnoredFields(FieldReader& reader, const std::string& api);

}  // namespace baton::gateway
