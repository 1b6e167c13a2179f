// Jinja's filters: `value | name(...)`.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/chat_template/budget.h"
#include "common/chat_template/call_arguments.h"
#include "common/chat_template/value.h"

namespace baton {

bool IsFilterName(absl::string_view name);

// arguments.values[0] is the value. Errors: InvalidArgument for wrong arguments or an unknown name,
// ResourceExhausted from the budget.
absl::StatusOr<Value> ApplyFilter(absl::string_view name, CallArguments arguments, Budget& budget);

}  // namespace baton
