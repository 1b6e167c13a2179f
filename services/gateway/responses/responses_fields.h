// The fields of POST /v1/responses that are not those of chat completions.
#pragma once

#include "services/gateway/openai/chat_translation.h"

namespace baton::gateway {

const TranslatedApi& ResponsesApi();

}  // namespace baton::gateway
