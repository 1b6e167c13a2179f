// The body of POST /v1/messages in the words of /v1/chat/completions.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "services/gateway/admission/request_caps.h"
#include "services/gateway/openai/chat_translation.h"

namespace baton::gateway {

// What a request needs: an answer has a bound, a count of tokens does not.
enum class MessagesUse { kAnswer, kCount };

// The chat completion that asks for the same. System prompt, text, thinking, tool calls and their
// results, tools, output format, stop sequences and sampling have counterparts; what else a chat
// completion takes is taken here, too. What has no counterpart is refused; what nobody knows is
// named in the debug log. Errors: InvalidArgument naming the client's field.
absl::StatusOr<ChatTranslation> ChatOfMessages(absl::string_view body, MessagesUse use,
                                               const RequestCaps& caps = {});

}  // namespace baton::gateway
