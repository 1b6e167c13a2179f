// The JSON schemas of the OpenAPI document.
#pragma once

#include "services/gateway/admission/request_caps.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {

// Every schema by its name. Those of requests are made from the tables of fields that the parsers
// go by: openai/field_table, anthropic/messages_fields, responses/responses_fields. They have all
// fields but those that are always refused; of what is refused but for some values they have these
// values. What only counts tokens or shows them has the fields that its prompt depends on: others
// are checked and change nothing. Limits are those of `caps`.
Json OpenApiSchemas(const RequestCaps& caps);

}  // namespace baton::gateway
