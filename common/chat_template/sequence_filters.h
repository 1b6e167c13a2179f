// The filters that work on items. arguments.values[0] is the value; errors as ApplyFilter.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/chat_template/budget.h"
#include "common/chat_template/call_arguments.h"
#include "common/chat_template/value.h"

namespace baton {

// first, last.
absl::StatusOr<Value> EndFilter(absl::string_view name, CallArguments arguments, Budget& budget);
absl::StatusOr<Value> ItemsFilter(absl::string_view name, CallArguments arguments, Budget& budget);
absl::StatusOr<Value> JoinFilter(absl::string_view name, CallArguments arguments, Budget& budget);
absl::StatusOr<Value> ListFilter(absl::string_view name, CallArguments arguments, Budget& budget);
absl::StatusOr<Value> ReverseFilter(absl::string_view name, CallArguments arguments,
                                    Budget& budget);
// map('filter', ...) and map(attribute='a.b').
absl::StatusOr<Value> MapFilter(absl::string_view name, CallArguments arguments, Budget& budget);
// select, reject, selectattr, rejectattr.
absl::StatusOr<Value> SelectFilter(absl::string_view name, CallArguments arguments, Budget& budget);

}  // namespace baton
