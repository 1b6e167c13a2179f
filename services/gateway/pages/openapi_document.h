// The OpenAPI document at /openapi.json and the page at /docs that shows it.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace baton::gateway {

// OpenAPI 3.1, JSON; request fields as in openai/field_table.h.
const std::string& OpenApiDocument();

// HTML without external resources; it reads /openapi.json.
absl::string_view DocsPage();

}  // namespace baton::gateway
