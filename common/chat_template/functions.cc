#include "common/chat_template/functions.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/value_text.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

// As Jinja's sandbox has it.
constexpr int64_t kMaxRange = 100'000;

absl::StatusOr<Value> RaiseException(CallArguments arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind("raise_exception", {"message"}, 1, std::move(arguments)));
  ASSIGN_OR_RETURN(const std::string message, TextOf(*bound.Get(0)));
  return absl::InvalidArgumentError(message);
}

absl::StatusOr<Value> Range(CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const auto bound, BoundArguments::Bind("range", {"start", "stop", "step"}, 1,
                                                          std::move(arguments)));
  ASSIGN_OR_RETURN(int64_t start, bound.Integer(0, 0));
  int64_t stop = start;
  if (bound.Get(1) == nullptr) {
    start = 0;
  } else {
    ASSIGN_OR_RETURN(stop, bound.Integer(1, 0));
  }
  ASSIGN_OR_RETURN(const int64_t step, bound.Integer(2, 1));
  if (step == 0) return absl::InvalidArgumentError("range() with step 0");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(items.size()) == kMaxRange) {
      return absl::InvalidArgumentError(absl::StrCat("range() of more than ", kMaxRange, " items"));
    }
    RETURN_IF_ERROR(budget.Spend(1));
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::ListOf(std::move(items));
}

absl::StatusOr<Value> StrftimeNow(CallArguments arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind("strftime_now", {"format"}, 1, std::move(arguments)));
  ASSIGN_OR_RETURN(const std::string format, bound.Text(0));
  if (format.empty()) return Value(std::string());
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  std::array<char, 1024> buffer;
  const size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &local);
  if (size == 0) return absl::InvalidArgumentError("strftime_now(): the format is too long");
  return Value(std::string(buffer.data(), size));
}

// namespace() and dict(): named arguments, and a dict before them.
absl::StatusOr<std::vector<std::pair<std::string, Value>>> Entries(CallArguments arguments) {
  std::vector<std::pair<std::string, Value>> entries;
  if (arguments.values.size() > 1 ||
      (arguments.values.size() == 1 && !arguments.values[0].is_dict())) {
    return absl::InvalidArgumentError("takes named arguments, or one dict");
  }
  if (arguments.values.size() == 1) entries = arguments.values[0].dict().entries;
  for (auto& [name, value] : arguments.named) {
    RETURN_IF_ERROR(CheckStorable(value, SIZE_MAX));
    const auto found = std::find_if(entries.begin(), entries.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (found != entries.end()) {
      found->second = std::move(value);
    } else {
      entries.emplace_back(name, std::move(value));
    }
  }
  return entries;
}

constexpr std::array<absl::string_view, 5> kFunctions = {"namespace", "range", "dict",
                                                         "raise_exception", "strftime_now"};

}  // namespace

absl::string_view FunctionNamed(absl::string_view name) {
  const auto* const found = std::find(kFunctions.begin(), kFunctions.end(), name);
  return found == kFunctions.end() ? absl::string_view() : *found;
}

absl::StatusOr<Value> CallFunction(const FunctionValue& function, CallArguments arguments,
                                   Budget& budget) {
  if (function.name == "raise_exception") return RaiseException(std::move(arguments));
  if (function.name == "range") return Range(std::move(arguments), budget);
  if (function.name == "strftime_now") return StrftimeNow(std::move(arguments));
  ASSIGN_OR_RETURN(auto entries, Entries(std::move(arguments)));
  if (function.name == "dict") return Value::DictOf(std::move(entries));
  return Value(std::make_shared<NamespaceValue>(NamespaceValue{std::move(entries)}));
}

absl::Status CheckStorable(const Value& value, size_t max_depth) {
  if (value.get_if<Value::Namespace>() != nullptr || value.get_if<Value::Loop>() != nullptr ||
      value.get_if<Value::Method>() != nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("a ", value.type_name(), " cannot be put into another value"));
  }
  if (value.depth() <= max_depth) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("values nested deeper than ", max_depth, " levels"));
}

}  // namespace baton
