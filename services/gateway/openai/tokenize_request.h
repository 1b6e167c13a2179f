// The bodies of POST /tokenize and /detokenize.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "services/gateway/admission/request_validator.h"
#include "services/gateway/model/prompt_encoder.h"

namespace baton::gateway {

struct TokenizeRequest {
  std::string model;  // empty: the one that is served
  std::string prompt;
  std::optional<ChatInput> chat;  // in place of the prompt
  bool add_special_tokens = true;
  bool return_token_strs = false;
};

struct DetokenizeRequest {
  std::string model;
  std::vector<int64_t> tokens;
};

// Types and structure. Errors: InvalidArgument naming the field.
absl::StatusOr<TokenizeRequest> ParseTokenizeRequest(absl::string_view body,
                                                     const RequestValidator& validator);
absl::StatusOr<DetokenizeRequest> ParseDetokenizeRequest(absl::string_view body,
                                                         const RequestCaps& caps);

}  // namespace baton::gateway
