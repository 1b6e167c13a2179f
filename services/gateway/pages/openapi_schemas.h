// The JSON schemas of the OpenAPI document.
#pragma once

#include "services/gateway/json/strict_json.h"

namespace baton::gateway {

// Every schema by its name. Those of requests have all fields that are read, with the ranges of
// openai/field_table.h where it has the field.
Json OpenApiSchemas();

}  // namespace baton::gateway
