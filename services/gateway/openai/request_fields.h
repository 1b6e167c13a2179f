// Fields that chat and text completion requests share.
#pragma once

#include <cstdint>
#include <string>

#include "services/gateway/admission/generation_params.h"
#include "services/gateway/admission/request_caps.h"
#include "services/gateway/json/field_reader.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/openai/field_table.h"

namespace baton::gateway {

struct StreamFields {
  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;
  int64_t interval = 1;  // tokens of an event, but for the first and the last of a choice

  // As if the request had asked for the usage in every chunk and at the end.
  void ForceUsage() { include_usage = continuous_usage = true; }
};

// How the answer is to be written.
struct OutputFields {
  bool return_token_ids = false;
  bool tokens_as_token_ids = false;  // "token_id:7" in log-probabilities in place of the text
};

// All record the first error in `reader`.
void ReadSamplingFields(FieldReader& reader, RequestedParams* params);
StreamFields ReadStreamFields(FieldReader& reader, const RequestCaps& caps);
OutputFields ReadOutputFields(FieldReader& reader);
// The body's own name of the request; X-Request-Id goes before it.
std::string ReadRequestId(FieldReader& reader, const RequestCaps& caps);
// Refuses a request that sets a field of the table that is refused to other than its neutral value.
void RefuseUnsupportedFields(FieldReader& reader, FieldApi api, const RequestCaps& caps);
// Fields without meaning here are accepted; they are named in the debug log, and so are those of
// the table that change nothing.
void LogIgnoredFields(FieldReader& reader, const std::string& api);
// Those that nobody has asked `reader` for.
void LogUnknownFields(const FieldReader& reader, const std::string& api);

}  // namespace baton::gateway
