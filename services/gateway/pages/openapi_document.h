// The OpenAPI document at /openapi.json and the page at /docs that shows it.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

#include "services/gateway/admission/request_caps.h"

namespace baton::gateway {

// OpenAPI 3.1, JSON; request fields as in openai/field_table.h, limits those of `caps`.
// Much work: made once, not for each who asks.
std::string OpenApiDocument(const RequestCaps& caps);

// HTML without external resources; it reads /openapi.json.
absl::string_view DocsPage();

}  // namespace baton::gateway
