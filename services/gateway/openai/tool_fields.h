// The fields of a chat request that are about tools.
#pragma once

#include <string>

#include "absl/status/status.h"

#include "services/gateway/admission/request_caps.h"
#include "services/gateway/json/field_reader.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/model/served_model.h"

namespace baton::gateway {

enum class ToolChoice {
  kNone,      // no call is looked for
  kAuto,      // the model chooses
  kRequired,  // at least one call
  kNamed,     // a call of one function
};

struct ToolFields {
  Json tools;  // as given; null: none
  ToolChoice choice = ToolChoice::kNone;
  std::string function;  // kNamed
  bool parallel = true;

  // Whether there has to be a call.
  bool required() const { return choice == ToolChoice::kRequired || choice == ToolChoice::kNamed; }
};

// Types and structure. Errors are recorded in `reader`.
ToolFields ReadToolFields(FieldReader& reader, const RequestCaps& caps);

// Whether the model as it is served can do what is asked. Errors: InvalidArgument naming the field
// and the flag that would help.
absl::Status CheckToolFields(const ServedModel& model, const ToolFields& fields);

// Checks the calls in an assistant's message and gives them the form that templates expect:
// arguments as text, "type" set. `field`: the message's name in errors, InvalidArgument.
absl::Status NormaliseToolCalls(const std::string& field, Json& calls);

}  // namespace baton::gateway
