// The fields of POST /v1/messages that are not those of chat completions.
#pragma once

#include "services/gateway/openai/chat_translation.h"

namespace baton::gateway {

const TranslatedApi& MessagesApi();

}  // namespace baton::gateway
