// Jinja's tests: `value is name(...)`.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/chat_template/call_arguments.h"
#include "common/chat_template/value.h"

namespace baton {

bool IsTestName(absl::string_view name);

// arguments.values[0] is the value. Errors: InvalidArgument for wrong arguments.
absl::StatusOr<bool> ApplyTest(absl::string_view name, CallArguments arguments);

}  // namespace baton
