// What a chat answer may be where it has to call functions, or may call strict ones.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "services/gateway/admission/generation_params.h"
#include "services/gateway/admission/request_validator.h"
#include "services/gateway/model/served_model.h"
#include "services/gateway/openai/tool_fields.h"

namespace baton::gateway {

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
// are the result, in the order in which that was found out. If the schemas do not compile together,
// they are tried one by one, the shortest first, and each is kept that fits beside those before it
// into what one constraint may cost. Each that is refused takes from the time for those behind it,
// so behind some that take long to refuse even one that fits may not be kept. Where none of the
// strict ones is left nothing is constrained. May take four times as long as Admit of `validator`
// does after it. Errors: InvalidArgument if calls are required and something else constrains the
// answer too, or if the schema of one that has to be kept is not that of an object or is larger
// than the caps.
absl::StatusOr<std::vector<UnkeptFunction>> ConstrainToCalls(const CallConstraintOptions& options,
                                                             const ToolFields& fields,
                                                             RequestedParams* params);

}  // namespace baton::gateway
