// The body of POST /v1/chat/completions.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "services/gateway/admission/generation_params.h"
#include "services/gateway/admission/request_validator.h"
#include "services/gateway/model/prompt_encoder.h"
#include "services/gateway/openai/request_fields.h"
#include "services/gateway/openai/tool_fields.h"

namespace baton::gateway {

struct ChatRequest {
  std::string model;  // empty: the one that is served
  ChatInput input;
  RequestedParams params;
  StreamFields stream;
  OutputFields output;
  ToolFields tools;
  bool include_reasoning = true;
  bool return_prompt_text = false;
  std::string echoed;      // what the answer's content begins with
  std::string request_id;  // empty: none is given
};

// Types and structure; ranges are the validator's. Errors: InvalidArgument naming the field.
absl::StatusOr<ChatRequest> ParseChatRequest(absl::string_view body,
                                             const RequestValidator& validator);
absl::StatusOr<ChatRequest> ReadChatRequest(const Json& body, const RequestValidator& validator);

// Fields that the prompt depends on, all others being equal.
absl::Span<const char* const> PromptFields();

// The text of a content: a string, or that of its parts with line feeds between them. `type`: what
// each part has to be; empty: any that holds a text. Errors: InvalidArgument naming the part, as a
// member of `field`.
absl::StatusOr<std::string> ReadContentText(const Json& content, const std::string& field,
                                            absl::string_view type);
// Of one part, whose own name `field` is.
absl::StatusOr<std::string> ReadTextPart(const Json& part, const std::string& field,
                                         absl::string_view type);

}  // namespace baton::gateway
