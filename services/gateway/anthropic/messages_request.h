// The body of POST /v1/messages in the words of /v1/chat/completions.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "services/gateway/json/strict_json.h"

namespace baton::gateway {

// What a request needs: an answer has a bound, a count of tokens does not.
enum class MessagesUse { kAnswer, kCount };

// The chat completion that asks for the same. System prompt, text, thinking, tool calls and their
// results, tools, stop sequences and sampling have counterparts; what has none is refused. Errors:
// InvalidArgument naming the field.
absl::StatusOr<Json> ChatBodyOfMessages(absl::string_view body, MessagesUse use);

}  // namespace baton::gateway
