// The fields of a chat request that are about tools.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "services/gateway/admission/generation_params.h"
#include "services/gateway/admission/request_caps.h"
#include "services/gateway/admission/request_validator.h"
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
};

// Types and structure. Errors are recorded in `reader`.
ToolFields ReadToolFields(FieldReader& reader, const RequestCaps& caps);

// Whether the model as it is served can do what is asked. Errors: InvalidArgument naming the field
// and the flag that would help.
absl::Status CheckToolFields(const ServedModel& model, const ToolFields& fields);

// A strict function that may be called with any object.
struct UnkeptFunction {
  std::string name;
  std::string reason;
};

struct CallConstraintOptions {
  const ServedModel& model;
  const RequestValidator& validator;
  bool continues_message = false;  // the answer goes on with one: no reasoning comes before it
};

// Where calls are required or one is named: constrains the answer to them, in the model's own
// syntax, with arguments of their schemas. Where the model may call and a function is `strict`:
// constrains what it calls, those that are not strict to an object. A strict one whose schema
// cannot be kept counts there as one that is not, as in vLLM, unless the model refuses it; these
// are the result, in the order in which that was found out. Where none of the strict ones is left
// nothing is constrained. May take three times as long as Admit of `validator`. Errors:
// InvalidArgument if calls are required and something else constrains the answer too, or if the
// schema of one that has to be kept is not that of an object or is larger than the caps.
absl::StatusOr<std::vector<UnkeptFunction>> ConstrainToCalls(const CallConstraintOptions& options,
                                                             const ToolFields& fields,
                                                             RequestedParams* params);

// Checks the calls in an assistant's message and gives them the form that templates expect:
// arguments as text, "type" set. `field`: the message's name in errors, InvalidArgument.
absl::Status NormaliseToolCalls(const std::string& field, Json& calls);

}  // namespace baton::gateway
