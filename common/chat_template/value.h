// Values that a template works with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace baton {

class Value;
struct MacroSyntax;

// Jinja's default Undefined: prints as nothing, is false, has no items; using it is an error that
// names what was missing.
struct UndefinedValue {
  std::shared_ptr<const std::string> what;  // "'x' is undefined"
};
struct NoneValue {};
struct ListValue {
  std::vector<Value> items;
  bool is_tuple = false;
  size_t depth = 1;
};
struct DictValue {
  std::vector<std::pair<std::string, Value>> entries;  // in the order of insertion
  size_t depth = 1;
};
// What namespace() makes; the only value that changes. Holds no other namespace, so that none can
// hold itself.
struct NamespaceValue {
  std::vector<std::pair<std::string, Value>> entries;
};
// `loop` of a for.
struct LoopValue {
  std::shared_ptr<const ListValue> items;
  size_t index0 = 0;
  size_t depth0 = 0;
};
struct FunctionValue {
  absl::string_view name;  // of the built-in function; a literal
};
// A method of a value, not called yet.
struct MethodValue;

// A copy shares texts and containers. Not thread-safe; values of one rendering stay in it.
class Value {
 public:
  using Text = std::shared_ptr<const std::string>;
  using List = std::shared_ptr<const ListValue>;
  using Dict = std::shared_ptr<const DictValue>;
  using Namespace = std::shared_ptr<NamespaceValue>;
  using Loop = std::shared_ptr<const LoopValue>;
  using Method = std::shared_ptr<const MethodValue>;

  Value() : value_(NoneValue{}) {}
  explicit Value(bool value) : value_(value) {}
  explicit Value(int64_t value) : value_(value) {}
  explicit Value(double value) : value_(value) {}
  explicit Value(std::string text) : value_(std::make_shared<const std::string>(std::move(text))) {}
  explicit Value(absl::string_view text) : Value(std::string(text)) {}
  explicit Value(const char*) = delete;  // would be a bool
  explicit Value(List list) : value_(std::move(list)) {}
  explicit Value(Dict dict) : value_(std::move(dict)) {}
  explicit Value(Namespace space) : value_(std::move(space)) {}
  explicit Value(Loop loop) : value_(std::move(loop)) {}
  explicit Value(Method method) : value_(std::move(method)) {}
  explicit Value(FunctionValue function) : value_(function) {}
  explicit Value(const MacroSyntax* macro) : value_(macro) {}

  static Value Undefined(std::string what);
  static Value Tuple(std::vector<Value> items) { return MakeList(std::move(items), true); }
  static Value ListOf(std::vector<Value> items) { return MakeList(std::move(items), false); }
  static Value DictOf(std::vector<std::pair<std::string, Value>> entries);

  bool is_undefined() const { return Is<UndefinedValue>(); }
  bool is_none() const { return Is<NoneValue>(); }
  bool is_bool() const { return Is<bool>(); }
  bool is_int() const { return Is<int64_t>(); }
  bool is_float() const { return Is<double>(); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_integral() const { return is_bool() || is_int(); }
  bool is_text() const { return Is<Text>(); }
  bool is_list() const { return Is<List>(); }  // tuples as well
  bool is_dict() const { return Is<Dict>(); }

  template <typename T>
  const T* get_if() const {
    return std::get_if<T>(&value_);
  }
  // Only of a value of that kind.
  const std::string& text() const { return *std::get<Text>(value_); }
  const std::vector<Value>& items() const { return std::get<List>(value_)->items; }
  const List& list() const { return std::get<List>(value_); }
  const DictValue& dict() const { return *std::get<Dict>(value_); }
  const std::string& undefined_text() const { return *std::get<UndefinedValue>(value_).what; }
  // Of a bool or an int.
  int64_t integer() const { return is_bool() ? std::get<bool>(value_) : std::get<int64_t>(value_); }
  // Of a number.
  double number() const { return is_float() ? std::get<double>(value_) : double(integer()); }

  // Python's truth.
  bool truth() const;
  // Containers inside one another, itself included; 0 for what holds nothing.
  size_t depth() const;
  // Python's name of the type, for messages: "str", "list".
  absl::string_view type_name() const;

 private:
  template <typename T>
  bool Is() const {
    return std::holds_alternative<T>(value_);
  }
  static Value MakeList(std::vector<Value> items, bool is_tuple);

  std::variant<UndefinedValue, NoneValue, bool, int64_t, double, Text, List, Dict, Namespace, Loop,
               Method, FunctionValue, const MacroSyntax*>
      value_;
};

struct MethodValue {
  Value self;
  std::string name;
};

// The entry of that key, or null.
const Value* FindEntry(const std::vector<std::pair<std::string, Value>>& entries,
                       absl::string_view key);

// Python's ==.
bool Equals(const Value& a, const Value& b);
// Python's <: of numbers, texts and lists. Errors: InvalidArgument for other types.
absl::StatusOr<bool> Less(const Value& a, const Value& b);

// The value of a JSON value. Errors: InvalidArgument when it is nested deeper than `max_depth`, or
// a whole number does not fit 64 bits.
absl::StatusOr<Value> ValueFromJson(const nlohmann::ordered_json& json, size_t max_depth);

}  // namespace baton
