// Python's operators on values. All errors are InvalidArgument for types that do not fit, and
// ResourceExhausted from the budget.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/chat_template/budget.h"
#include "common/chat_template/value.h"

namespace baton {

// One of + - * / // % ** and ~ (joins the texts of both).
absl::StatusOr<Value> Arithmetic(absl::string_view op, const Value& a, const Value& b,
                                 Budget& budget);
absl::StatusOr<Value> Negative(const Value& value);

// One of == != < <= > >= in, "not in".
absl::StatusOr<bool> Compare(absl::string_view op, const Value& a, const Value& b);

// The items that `for` goes through: of a list, keys of a dict, characters of a text; none of
// Undefined.
absl::StatusOr<Value::List> ItemsOf(const Value& value, Budget& budget);

// len(value).
absl::StatusOr<int64_t> LengthOf(const Value& value);

// value[index] and value.name as Jinja looks them up; what is not there is Undefined. Methods of a
// value come as values that can be called.
absl::StatusOr<Value> ItemOf(const Value& value, const Value& index);
absl::StatusOr<Value> AttributeOf(const Value& value, absl::string_view name);

// value[start:stop:step], each of the three a whole number or None.
struct SliceBounds {
  Value start;
  Value stop;
  Value step;
};
absl::StatusOr<Value> SliceOf(const Value& value, const SliceBounds& bounds, Budget& budget);

}  // namespace baton
