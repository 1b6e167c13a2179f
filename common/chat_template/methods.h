// Methods of texts, lists and dicts.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/chat_template/budget.h"
#include "common/chat_template/call_arguments.h"
#include "common/chat_template/value.h"

namespace baton {

// Whether Python has a method of that name on such a value; `x.name` is then the method even where
// a dict has an entry of that name.
bool HasMethod(const Value& value, absl::string_view name);

// Calls it. Errors: InvalidArgument for wrong arguments, for a method that would change the value
// (the sandbox forbids it) and for one that is not supported.
absl::StatusOr<Value> CallMethod(const MethodValue& method, CallArguments arguments,
                                 Budget& budget);

// str.upper, str.lower and str.capitalize of ASCII texts. Errors: InvalidArgument for other texts:
// case beyond ASCII is not supported.
absl::StatusOr<Value> ChangeCase(absl::string_view name, absl::string_view text);

// str.strip, str.lstrip and str.rstrip; `characters` null: white space.
absl::string_view StripNamed(absl::string_view name, absl::string_view text,
                             const std::string* characters);

}  // namespace baton
