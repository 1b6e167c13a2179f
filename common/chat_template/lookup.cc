#include <algorithm>
#include <array>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/methods.h"
#include "common/chat_template/operators.h"
#include "common/chat_template/python_text.h"
#include "common/chat_template/value_text.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

// How messages call the type of `value`.
std::string Described(const Value& value) {
  return value.is_none() ? "'None'" : absl::StrCat("'", value.type_name(), " object'");
}

Value NoAttribute(const Value& value, absl::string_view name) {
  return Value::Undefined(absl::StrCat(Described(value), " has no attribute '", name, "'"));
}

Value NoElement(const Value& value, const Value& index) {
  const auto text = TextOf(index);
  return Value::Undefined(
      absl::StrCat(Described(value), " has no element ", text.ok() ? *text : "of that kind"));
}

// Where an index of Python, negative from the end, points to; -1 for nowhere.
int64_t Place(int64_t index, size_t size) {
  if (index < 0) index += static_cast<int64_t>(size);
  return index >= 0 && index < static_cast<int64_t>(size) ? index : -1;
}

Value LoopAttribute(const Value& value, absl::string_view name) {
  const LoopValue& loop = **value.get_if<Value::Loop>();
  const auto size = static_cast<int64_t>(loop.items->items.size());
  const auto index0 = static_cast<int64_t>(loop.index0);
  if (name == "index") return Value(index0 + 1);
  if (name == "index0") return Value(index0);
  if (name == "revindex") return Value(size - index0);
  if (name == "revindex0") return Value(size - index0 - 1);
  if (name == "first") return Value(index0 == 0);
  if (name == "last") return Value(index0 + 1 == size);
  if (name == "length") return Value(size);
  if (name == "depth") return Value(static_cast<int64_t>(loop.depth0) + 1);
  if (name == "depth0") return Value(static_cast<int64_t>(loop.depth0));
  if (name == "previtem") {
    return index0 == 0 ? Value::Undefined("there is no previous item")
                       : loop.items->items[index0 - 1];
  }
  if (name == "nextitem") {
    return index0 + 1 == size ? Value::Undefined("there is no next item")
                              : loop.items->items[index0 + 1];
  }
  return NoAttribute(value, name);
}

struct Steps {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
};

// Python's slice.indices.
absl::StatusOr<Steps> ResolveSlice(const SliceBounds& bounds, int64_t size) {
  Steps steps;
  for (const Value* bound : {&bounds.start, &bounds.stop, &bounds.step}) {
    if (bound->is_none() || bound->is_integral()) continue;
    if (bound->is_undefined()) return absl::InvalidArgumentError(bound->undefined_text());
    return absl::InvalidArgumentError("a slice takes whole numbers");
  }
  if (!bounds.step.is_none()) steps.step = bounds.step.integer();
  if (steps.step == 0) return absl::InvalidArgumentError("the step of a slice is 0");
  const bool forward = steps.step > 0;
  const int64_t low = forward ? 0 : -1;
  const int64_t high = forward ? size : size - 1;
  const auto resolve = [&](const Value& bound, int64_t fallback) {
    if (bound.is_none()) return fallback;
    const int64_t index = bound.integer();
    return std::clamp(index < 0 ? index + size : index, low, high);
  };
  steps.start = resolve(bounds.start, forward ? 0 : size - 1);
  steps.stop = resolve(bounds.stop, forward ? size : -1);
  return steps;
}

}  // namespace

absl::StatusOr<Value::List> ItemsOf(const Value& value, Budget& budget) {
  if (value.is_list()) return value.list();
  std::vector<Value> items;
  if (value.is_dict()) {
    for (const auto& entry : value.dict().entries) items.emplace_back(entry.first);
  } else if (value.is_text()) {
    RETURN_IF_ERROR(budget.Spend(value.text().size()));
    for (const absl::string_view c : Characters(value.text())) items.emplace_back(c);
  } else if (!value.is_undefined()) {
    return absl::InvalidArgumentError(absl::StrCat("a ", value.type_name(), " has no items"));
  }
  return Value::ListOf(std::move(items)).list();
}

absl::StatusOr<int64_t> LengthOf(const Value& value) {
  if (value.is_text()) return static_cast<int64_t>(CountCharacters(value.text()));
  if (value.is_list()) return static_cast<int64_t>(value.items().size());
  if (value.is_dict()) return static_cast<int64_t>(value.dict().entries.size());
  if (value.is_undefined()) return 0;
  if (const auto* loop = value.get_if<Value::Loop>()) {
    return static_cast<int64_t>((*loop)->items->items.size());
  }
  return absl::InvalidArgumentError(absl::StrCat("a ", value.type_name(), " has no length"));
}

absl::StatusOr<Value> ItemOf(const Value& value, const Value& index) {
  if (value.is_undefined()) return absl::InvalidArgumentError(value.undefined_text());
  if (value.is_dict() && index.is_text()) {
    const Value* const found = FindEntry(value.dict().entries, index.text());
    if (found != nullptr) return *found;
  }
  if (value.is_list() && index.is_integral()) {
    const int64_t place = Place(index.integer(), value.items().size());
    if (place >= 0) return value.items()[place];
  }
  if (value.is_text() && index.is_integral()) {
    const std::vector<absl::string_view> characters = Characters(value.text());
    const int64_t place = Place(index.integer(), characters.size());
    if (place >= 0) return Value(characters[place]);
  }
  if (!index.is_text()) return NoElement(value, index);
  if (HasMethod(value, index.text()) || value.get_if<Value::Namespace>() != nullptr ||
      value.get_if<Value::Loop>() != nullptr) {
    return AttributeOf(value, index.text());
  }
  return NoAttribute(value, index.text());
}

absl::StatusOr<Value> AttributeOf(const Value& value, absl::string_view name) {
  if (value.is_undefined()) return absl::InvalidArgumentError(value.undefined_text());
  if (HasMethod(value, name)) {
    return Value(std::make_shared<const MethodValue>(MethodValue{value, std::string(name)}));
  }
  const Value* found = nullptr;
  if (value.is_dict()) found = FindEntry(value.dict().entries, name);
  if (const auto* space = value.get_if<Value::Namespace>()) {
    found = FindEntry((*space)->entries, name);
  }
  if (value.get_if<Value::Loop>() != nullptr) return LoopAttribute(value, name);
  return found != nullptr ? *found : NoAttribute(value, name);
}

absl::StatusOr<Value> SliceOf(const Value& value, const SliceBounds& bounds, Budget& budget) {
  if (value.is_undefined()) return absl::InvalidArgumentError(value.undefined_text());
  if (!value.is_text() && !value.is_list()) {
    return Value::Undefined(absl::StrCat(Described(value), " has no slices"));
  }
  ASSIGN_OR_RETURN(const Value::List list, ItemsOf(value, budget));
  const auto size = static_cast<int64_t>(list->items.size());
  ASSIGN_OR_RETURN(const Steps steps, ResolveSlice(bounds, size));
  RETURN_IF_ERROR(budget.Spend(list->items.size()));
  std::vector<Value> items;
  for (int64_t i = steps.start; steps.step > 0 ? i < steps.stop : i > steps.stop;) {
    items.push_back(list->items[i]);
    if (__builtin_add_overflow(i, steps.step, &i)) break;
  }
  if (value.is_list()) {
    return value.list()->is_tuple ? Value::Tuple(std::move(items))
                                  : Value::ListOf(std::move(items));
  }
  std::string text;
  for (const Value& item : items) text += item.text();
  return Value(std::move(text));
}

}  // namespace baton
