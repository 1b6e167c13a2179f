// Functions that every template knows: namespace, range, dict, raise_exception, strftime_now.
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/chat_template/budget.h"
#include "common/chat_template/call_arguments.h"
#include "common/chat_template/value.h"

namespace baton {

// The function's own, lasting name; empty when there is none of that name.
absl::string_view FunctionNamed(absl::string_view name);

// Errors: InvalidArgument for wrong arguments, and with the message of raise_exception.
absl::StatusOr<Value> CallFunction(const FunctionValue& function, CallArguments arguments,
                                   Budget& budget);

// Whether a namespace or a container may hold `value`. Errors: InvalidArgument for a namespace, a
// loop or a method (a namespace could then hold itself), and for more than `max_depth` containers
// in one another.
absl::Status CheckStorable(const Value& value, size_t max_depth);

}  // namespace baton
