// Decimal numbers between bounds, as text.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/structured_output/expression.h"

namespace baton::structured {

struct NumberBound {
  std::string decimal;  // "-12", "0.5": no exponent
  bool exclusive = false;
};

struct NumberRange {
  std::optional<NumberBound> low;
  std::optional<NumberBound> high;
  bool integer = false;  // no fraction
};

// Numbers of the range without exponent; the empty range is Nothing. 0 is never written as -0.
ExprId SpellNumbers(const NumberRange& range, Grammar* grammar);

// `value` exactly, without exponent: "1e3" is "1000". Errors: InvalidArgument beyond 400 digits.
absl::StatusOr<std::string> PlainDecimal(double value);

}  // namespace baton::structured
