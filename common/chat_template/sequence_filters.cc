#include "common/chat_template/sequence_filters.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/filters.h"
#include "common/chat_template/operators.h"
#include "common/chat_template/predicates.h"
#include "common/chat_template/python_text.h"
#include "common/chat_template/value_text.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

// value.a.b for "a.b"; parts that are numbers are indices.
absl::StatusOr<Value> Follow(Value value, absl::string_view path) {
  for (const absl::string_view part : SplitText(path, ".", -1)) {
    int64_t index = 0;
    const Value key = absl::SimpleAtoi(part, &index) ? Value(index) : Value(part);
    ASSIGN_OR_RETURN(value, ItemOf(value, key));
  }
  return value;
}

// Takes the value off the arguments.
absl::StatusOr<Value> TakeValue(absl::string_view name, CallArguments& arguments) {
  if (arguments.values.empty()) return absl::InvalidArgumentError(absl::StrCat(name, ": no value"));
  Value value = std::move(arguments.values[0]);
  arguments.values.erase(arguments.values.begin());
  return value;
}

absl::StatusOr<std::string> TakeText(absl::string_view name, CallArguments& arguments) {
  ASSIGN_OR_RETURN(const Value value, TakeValue(name, arguments));
  if (value.is_text()) return value.text();
  return absl::InvalidArgumentError(absl::StrCat(name, ": the first argument is no text"));
}

CallArguments WithValue(const Value& value, const CallArguments& others) {
  CallArguments arguments = others;
  arguments.values.insert(arguments.values.begin(), value);
  return arguments;
}

}  // namespace

absl::StatusOr<Value> EndFilter(absl::string_view name, CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(name, {"value"}, 1, std::move(arguments)));
  ASSIGN_OR_RETURN(const Value::List list, ItemsOf(*bound.Get(0), budget));
  if (list->items.empty()) {
    return Value::Undefined(absl::StrCat("No ", name, " item, sequence was empty."));
  }
  return name == "first" ? list->items.front() : list->items.back();
}

absl::StatusOr<Value> ItemsFilter(absl::string_view name, CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(name, {"value"}, 1, std::move(arguments)));
  const Value& value = *bound.Get(0);
  std::vector<Value> items;
  if (value.is_undefined()) return Value::ListOf(std::move(items));
  if (!value.is_dict())
    return absl::InvalidArgumentError("Can only get item pairs from a mapping.");
  RETURN_IF_ERROR(budget.Spend(value.dict().entries.size()));
  for (const auto& [key, item] : value.dict().entries) {
    items.push_back(Value::Tuple({Value(key), item}));
  }
  return Value::ListOf(std::move(items));
}

absl::StatusOr<Value> JoinFilter(absl::string_view name, CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const auto bound, BoundArguments::Bind(name, {"value", "d", "attribute"}, 1,
                                                          std::move(arguments)));
  ASSIGN_OR_RETURN(const Value::List list, ItemsOf(*bound.Get(0), budget));
  ASSIGN_OR_RETURN(const std::string separator,
                   TextOf(bound.Get(1) == nullptr ? Value(std::string()) : *bound.Get(1)));
  ASSIGN_OR_RETURN(const std::string attribute, bound.Text(2));
  std::string out;
  for (size_t i = 0; i < list->items.size(); ++i) {
    Value item = list->items[i];
    if (!attribute.empty()) {
      ASSIGN_OR_RETURN(item, Follow(item, attribute));
    }
    ASSIGN_OR_RETURN(const std::string text, TextOf(item));
    absl::StrAppend(&out, i == 0 ? "" : separator, text);
    RETURN_IF_ERROR(budget.Spend(1 + (text.size() + separator.size()) / 64));
  }
  RETURN_IF_ERROR(budget.SpendText(out.size()));
  return Value(std::move(out));
}

absl::StatusOr<Value> ListFilter(absl::string_view name, CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(name, {"value"}, 1, std::move(arguments)));
  ASSIGN_OR_RETURN(const Value::List list, ItemsOf(*bound.Get(0), budget));
  RETURN_IF_ERROR(budget.Spend(list->items.size()));
  return Value::ListOf(list->items);
}

absl::StatusOr<Value> ReverseFilter(absl::string_view name, CallArguments arguments,
                                    Budget& budget) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(name, {"value"}, 1, std::move(arguments)));
  ASSIGN_OR_RETURN(const Value::List list, ItemsOf(*bound.Get(0), budget));
  RETURN_IF_ERROR(budget.Spend(list->items.size()));
  std::vector<Value> items(list->items.rbegin(), list->items.rend());
  if (!bound.Get(0)->is_text()) return Value::ListOf(std::move(items));
  std::string text;
  for (const Value& item : items) text += item.text();
  return Value(std::move(text));
}

absl::StatusOr<Value> MapFilter(absl::string_view name, CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const Value value, TakeValue(name, arguments));
  if (!value.truth()) return Value::ListOf({});  // whatever its type
  ASSIGN_OR_RETURN(const Value::List list, ItemsOf(value, budget));
  std::vector<Value> items;
  if (arguments.values.empty()) {
    ASSIGN_OR_RETURN(const auto bound,
                     BoundArguments::Bind(name, {"attribute"}, 1, std::move(arguments)));
    ASSIGN_OR_RETURN(const std::string attribute, bound.Text(0));
    for (const Value& item : list->items) {
      RETURN_IF_ERROR(budget.Spend(1));
      ASSIGN_OR_RETURN(Value found, Follow(item, attribute));
      items.push_back(std::move(found));
    }
    return Value::ListOf(std::move(items));
  }
  ASSIGN_OR_RETURN(const std::string filter, TakeText(name, arguments));
  if (filter == name) return absl::InvalidArgumentError("map() of map() is not supported");
  for (const Value& item : list->items) {
    RETURN_IF_ERROR(budget.Spend(1));
    ASSIGN_OR_RETURN(Value mapped, ApplyFilter(filter, WithValue(item, arguments), budget));
    items.push_back(std::move(mapped));
  }
  return Value::ListOf(std::move(items));
}

absl::StatusOr<Value> SelectFilter(absl::string_view name, CallArguments arguments,
                                   Budget& budget) {
  const bool by_attribute = name == "selectattr" || name == "rejectattr";
  const bool keep = name == "select" || name == "selectattr";
  ASSIGN_OR_RETURN(const Value value, TakeValue(name, arguments));
  if (!value.truth()) return Value::ListOf({});  // whatever its type
  ASSIGN_OR_RETURN(const Value::List list, ItemsOf(value, budget));
  std::string attribute;
  std::string test;
  if (by_attribute) {
    ASSIGN_OR_RETURN(attribute, TakeText(name, arguments));
  }
  if (!arguments.values.empty()) {
    ASSIGN_OR_RETURN(test, TakeText(name, arguments));
  }
  std::vector<Value> items;
  for (const Value& item : list->items) {
    RETURN_IF_ERROR(budget.Spend(1));
    Value subject = item;
    if (by_attribute) {
      ASSIGN_OR_RETURN(subject, Follow(subject, attribute));
    }
    bool passes = subject.truth();
    if (!test.empty()) {
      ASSIGN_OR_RETURN(passes, ApplyTest(test, WithValue(subject, arguments)));
    }
    if (passes == keep) items.push_back(item);
  }
  return Value::ListOf(std::move(items));
}

}  // namespace baton
