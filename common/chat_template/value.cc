#include "common/chat_template/value.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"

namespace baton {

Value Value::Undefined(std::string what) {
  Value value;
  value.value_ = UndefinedValue{std::make_shared<const std::string>(std::move(what))};
  return value;
}

Value Value::MakeList(std::vector<Value> items, bool is_tuple) {
  size_t depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return Value(std::make_shared<const ListValue>(ListValue{std::move(items), is_tuple, depth + 1}));
}

Value Value::DictOf(std::vector<std::pair<std::string, Value>> entries) {
  size_t depth = 0;
  for (const auto& [key, value] : entries) depth = std::max(depth, value.depth());
  return Value(std::make_shared<const DictValue>(DictValue{std::move(entries), depth + 1}));
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_float()) return number() != 0;
  if (is_integral()) return integer() != 0;
  if (is_text()) return !text().empty();
  if (is_list()) return !items().empty();
  if (is_dict()) return !dict().entries.empty();
  return true;
}

size_t Value::depth() const {
  if (is_list()) return list()->depth;
  if (is_dict()) return dict().depth;
  if (const auto* method = get_if<Method>()) return (*method)->self.depth() + 1;
  if (const auto* loop = get_if<Loop>()) return (*loop)->items->depth + 1;
  return get_if<Namespace>() != nullptr ? 1 : 0;
}

absl::string_view Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_float()) return "float";
  if (is_text()) return "str";
  if (is_list()) return list()->is_tuple ? "tuple" : "list";
  if (is_dict()) return "dict";
  if (get_if<Namespace>() != nullptr) return "Namespace";
  if (get_if<Loop>() != nullptr) return "LoopContext";
  if (get_if<Method>() != nullptr) return "method";
  return get_if<FunctionValue>() != nullptr ? "function" : "Macro";
}

const Value* FindEntry(const std::vector<std::pair<std::string, Value>>& entries,
                       absl::string_view key) {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [key](const auto& entry) { return entry.first == key; });
  return found == entries.end() ? nullptr : &found->second;
}

bool Equals(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
    return a.number() == b.number();
  }
  if (a.is_text() && b.is_text()) return a.text() == b.text();
  if (a.is_list() && b.is_list()) {
    return a.list()->is_tuple == b.list()->is_tuple &&
           std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(),
                      Equals);
  }
  if (a.is_dict() && b.is_dict()) {
    const auto& entries = a.dict().entries;
    return entries.size() == b.dict().entries.size() &&
           std::all_of(entries.begin(), entries.end(), [&b](const auto& entry) {
             const Value* const other = FindEntry(b.dict().entries, entry.first);
             return other != nullptr && Equals(entry.second, *other);
           });
  }
  if (const auto* space = a.get_if<Value::Namespace>()) {
    const auto* const other = b.get_if<Value::Namespace>();
    return other != nullptr && *space == *other;
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

absl::StatusOr<bool> Less(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return a.integer() < b.integer();
  if (a.is_number() && b.is_number()) return a.number() < b.number();
  if (a.is_text() && b.is_text()) return a.text() < b.text();  // UTF-8 sorts like code points
  if (a.is_list() && b.is_list() && a.list()->is_tuple == b.list()->is_tuple) {
    const size_t common = std::min(a.items().size(), b.items().size());
    for (size_t i = 0; i < common; ++i) {
      if (!Equals(a.items()[i], b.items()[i])) return Less(a.items()[i], b.items()[i]);
    }
    return a.items().size() < b.items().size();
  }
  for (const Value* side : {&a, &b}) {
    if (side->is_undefined()) return absl::InvalidArgumentError(side->undefined_text());
  }
  return absl::InvalidArgumentError(
      absl::StrCat("cannot order ", a.type_name(), " and ", b.type_name()));
}

absl::StatusOr<Value> ValueFromJson(const nlohmann::ordered_json& json, size_t max_depth) {
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::null:
      return Value();
    case nlohmann::ordered_json::value_t::boolean:
      return Value(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
        return absl::InvalidArgumentError(
            absl::StrCat("number ", json.get<uint64_t>(), " does not fit 64 bits with a sign"));
      }
      return Value(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_float:
      return Value(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return Value(json.get_ref<const std::string&>());
    case nlohmann::ordered_json::value_t::array:
    case nlohmann::ordered_json::value_t::object:
      break;
    default:
      return absl::InvalidArgumentError("binary JSON value");
  }
  if (max_depth == 0) return absl::InvalidArgumentError("JSON nested too deeply");
  if (json.is_array()) {
    std::vector<Value> items;
    items.reserve(json.size());
    for (const auto& item : json) {
      ASSIGN_OR_RETURN(Value value, ValueFromJson(item, max_depth - 1));
      items.push_back(std::move(value));
    }
    return Value::ListOf(std::move(items));
  }
  std::vector<std::pair<std::string, Value>> entries;
  entries.reserve(json.size());
  for (const auto& [key, item] : json.items()) {
    ASSIGN_OR_RETURN(Value value, ValueFromJson(item, max_depth - 1));
    entries.emplace_back(key, std::move(value));
  }
  return Value::DictOf(std::move(entries));
}

}  // namespace baton
