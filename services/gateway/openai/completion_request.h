// The body of POST /v1/completions.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "services/gateway/admission/generation_params.h"
#include "services/gateway/admission/request_validator.h"
#include "services/gateway/openai/request_fields.h"

namespace baton::gateway {

// Text, or token ids as the client sent them.
using CompletionPrompt = std::variant<std::string, std::vector<int64_t>>;

struct CompletionRequest {
  std::string model;  // empty: the one that is served
  std::vector<CompletionPrompt> prompts;
  RequestedParams params;
  StreamFields stream;
  OutputFields output;
  bool echo = false;               // the text begins with the prompt
  bool echo_only = false;          // max_tokens=0: nothing is generated
  bool add_special_tokens = true;  // to text prompts
  std::string request_id;          // empty: none is given
};

// Types and structure; ranges are the validator's. Errors: InvalidArgument naming the field.
absl::StatusOr<CompletionRequest> ParseCompletionRequest(absl::string_view body,
                                                         const RequestValidator& validator);

}  // namespace baton::gateway
