#include <algorithm>
#include <cmath>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/operators.h"
#include "common/chat_template/value_text.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

absl::Status NotFor(absl::string_view op, const Value& a, const Value& b) {
  for (const Value* side : {&a, &b}) {
    if (side->is_undefined()) return absl::InvalidArgumentError(side->undefined_text());
  }
  return absl::InvalidArgumentError(absl::StrCat("unsupported operand types for ", op, ": '",
                                                 a.type_name(), "' and '", b.type_name(), "'"));
}

// Whether Python takes it as a key.
bool IsHashable(const Value& value) {
  if (!value.is_list()) return !value.is_dict();
  return value.list()->is_tuple &&
         std::all_of(value.items().begin(), value.items().end(), IsHashable);
}

absl::StatusOr<Value> Add(const Value& a, const Value& b, Budget& budget) {
  if (a.is_text() && b.is_text()) {
    RETURN_IF_ERROR(budget.SpendText(a.text().size() + b.text().size()));
    return Value(absl::StrCat(a.text(), b.text()));
  }
  if (a.is_list() && b.is_list() && a.list()->is_tuple == b.list()->is_tuple) {
    RETURN_IF_ERROR(budget.Spend(a.items().size() + b.items().size()));
    std::vector<Value> items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    return a.list()->is_tuple ? Value::Tuple(std::move(items)) : Value::ListOf(std::move(items));
  }
  return NotFor("+", a, b);
}

absl::StatusOr<Value> Repeat(const Value& what, int64_t times, Budget& budget) {
  const size_t count = times < 0 ? 0 : static_cast<size_t>(times);
  const size_t size = what.is_text() ? what.text().size() : what.items().size();
  size_t total = 0;
  if (__builtin_mul_overflow(size, count, &total)) total = SIZE_MAX;
  if (what.is_text()) {
    RETURN_IF_ERROR(budget.SpendText(total));
    std::string text;
    text.reserve(total);
    for (size_t i = 0; i < (size == 0 ? 0 : count); ++i) text += what.text();
    return Value(std::move(text));
  }
  RETURN_IF_ERROR(budget.Spend(total));
  std::vector<Value> items;
  for (size_t i = 0; i < (size == 0 ? 0 : count); ++i) {
    items.insert(items.end(), what.items().begin(), what.items().end());
  }
  return what.list()->is_tuple ? Value::Tuple(std::move(items)) : Value::ListOf(std::move(items));
}

absl::StatusOr<int64_t> Power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  bool overflow = false;
  while (exponent > 0) {
    if (exponent % 2 == 1) overflow |= __builtin_mul_overflow(result, base, &result);
    exponent /= 2;
    if (exponent > 0) overflow |= __builtin_mul_overflow(base, base, &base);
    if (overflow) return absl::InvalidArgumentError("a power does not fit 64 bits");
  }
  return result;
}

absl::StatusOr<Value> OnIntegers(absl::string_view op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else if (op == "**") {
    if (b < 0) return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
    ASSIGN_OR_RETURN(result, Power(a, b));
  } else if (b == 0) {
    return absl::InvalidArgumentError("division by zero");
  } else if (op == "/") {
    return Value(static_cast<double>(a) / static_cast<double>(b));
  } else if (b == -1) {
    overflow = op == "//" && __builtin_sub_overflow(int64_t{0}, a, &result);
  } else {  // rounded towards minus infinity
    const int64_t remainder = a % b;
    const bool adjust = remainder != 0 && (remainder < 0) != (b < 0);
    result = op == "//" ? a / b - (adjust ? 1 : 0) : remainder + (adjust ? b : 0);
  }
  if (overflow) return absl::InvalidArgumentError("a number does not fit 64 bits");
  return Value(result);
}

absl::StatusOr<Value> OnFloats(absl::string_view op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") return Value(std::pow(a, b));
  if (b == 0) return absl::InvalidArgumentError("division by zero");
  if (op == "/") return Value(a / b);
  if (op == "//") return Value(std::floor(a / b));
  const double remainder = std::fmod(a, b);
  return Value(remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder);
}

}  // namespace

absl::StatusOr<Value> Arithmetic(absl::string_view op, const Value& a, const Value& b,
                                 Budget& budget) {
  if (op == "~") {
    ASSIGN_OR_RETURN(const std::string left, TextOf(a));
    ASSIGN_OR_RETURN(const std::string right, TextOf(b));
    RETURN_IF_ERROR(budget.SpendText(left.size() + right.size()));
    return Value(left + right);
  }
  if (a.is_integral() && b.is_integral()) return OnIntegers(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return OnFloats(op, a.number(), b.number());
  if (op == "+") return Add(a, b, budget);
  if (op == "*") {
    if ((a.is_text() || a.is_list()) && b.is_integral()) return Repeat(a, b.integer(), budget);
    if ((b.is_text() || b.is_list()) && a.is_integral()) return Repeat(b, a.integer(), budget);
  }
  return NotFor(op, a, b);
}

absl::StatusOr<Value> Negative(const Value& value) {
  if (value.is_float()) return Value(-value.number());
  if (value.is_integral()) return OnIntegers("-", 0, value.integer());
  return NotFor("-", value, value);
}

absl::StatusOr<bool> Compare(absl::string_view op, const Value& a, const Value& b) {
  if (op == "==") return Equals(a, b);
  if (op == "!=") return !Equals(a, b);
  if (op == "<") return Less(a, b);
  if (op == ">") return Less(b, a);
  if (op == "<=" || op == ">=") {
    ASSIGN_OR_RETURN(const bool opposite, op == "<=" ? Less(b, a) : Less(a, b));
    const bool has_nan =
        (a.is_float() && std::isnan(a.number())) || (b.is_float() && std::isnan(b.number()));
    return !opposite && !has_nan;
  }
  const bool inside = op == "in";
  if (b.is_text()) {
    if (!a.is_text()) {
      if (a.is_undefined()) return absl::InvalidArgumentError(a.undefined_text());
      return absl::InvalidArgumentError(
          absl::StrCat("'in' a text needs a text, not ", a.type_name()));
    }
    return absl::StrContains(b.text(), a.text()) == inside;
  }
  if (b.is_dict()) {
    if (!IsHashable(a)) return absl::InvalidArgumentError("a list or dict is no key of a dict");
    return (a.is_text() && FindEntry(b.dict().entries, a.text()) != nullptr) == inside;
  }
  if (b.is_undefined()) return !inside;
  if (!b.is_list()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a ", b.type_name(), " has no items that could be 'in' it"));
  }
  for (const Value& item : b.items()) {
    if (Equals(item, a)) return inside;
  }
  return !inside;
}

}  // namespace baton
