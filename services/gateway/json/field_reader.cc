#include "services/gateway/json/field_reader.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "services/gateway/admission/refusal.h"

namespace baton::gateway {

absl::string_view DescribeJsonType(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a boolean";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return "an integer";
    case Json::value_t::number_float:
      return "a number";
    default:
      return "an unknown value";
  }
}

std::optional<int64_t> JsonInteger(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    // Beyond 2^53 a double no longer says which integer was meant.
    if (std::trunc(number) == number && std::fabs(number) <= 9007199254740992.0) {
      return static_cast<int64_t>(number);
    }
  }
  return std::nullopt;
}

FieldReader::FieldReader(const Json& object) : object_(object), known_(object.size()) {
  BATON_CHECK(object.is_object()) << "FieldReader over " << DescribeJsonType(object);
}

const Json* FieldReader::Find(absl::string_view name) {
  size_t index = 0;
  for (const auto& [key, value] : *object_.get_ptr<const Json::object_t*>()) {
    if (key == name) {
      known_[index] = true;
      return &value;
    }
    ++index;
  }
  return nullptr;
}

const Json* FieldReader::FindSet(absl::string_view name) {
  const Json* value = Find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

void FieldReader::Read(absl::string_view name, std::optional<bool>* out) {
  const Json* value = FindSet(name);
  if (value == nullptr) return;
  if (!value->is_boolean()) {
    return Fail(name, absl::StrCat("must be a boolean, not ", DescribeJsonType(*value)));
  }
  *out = value->get<bool>();
}

void FieldReader::Read(absl::string_view name, bool* out) {
  std::optional<bool> value;
  Read(name, &value);
  if (value) *out = *value;
}

void FieldReader::Read(absl::string_view name, std::optional<int64_t>* out) {
  const Json* value = FindSet(name);
  if (value == nullptr) return;
  const std::optional<int64_t> number = JsonInteger(*value);
  if (!number) {
    const bool is_integer = value->is_number_integer();
    return Fail(name, is_integer
                          ? absl::StrCat("is out of range: ", value->dump())
                          : absl::StrCat("must be an integer, not ", DescribeJsonType(*value)));
  }
  *out = *number;
}

void FieldReader::Read(absl::string_view name, int64_t* out) {
  std::optional<int64_t> value;
  Read(name, &value);
  if (value) *out = *value;
}

void FieldReader::Read(absl::string_view name, std::optional<double>* out) {
  const Json* value = FindSet(name);
  if (value == nullptr) return;
  if (!value->is_number()) {
    return Fail(name, absl::StrCat("must be a number, not ", DescribeJsonType(*value)));
  }
  *out = value->get<double>();
}

void FieldReader::Read(absl::string_view name, std::string* out) {
  const Json* value = FindSet(name);
  if (value == nullptr) return;
  if (!value->is_string()) {
    return Fail(name, absl::StrCat("must be a string, not ", DescribeJsonType(*value)));
  }
  *out = value->get<std::string>();
}

void FieldReader::Read(absl::string_view name, std::vector<int64_t>* out) {
  const Json* value = FindSet(name);
  if (value == nullptr) return;
  if (!value->is_array()) {
    return Fail(name, absl::StrCat("must be a list of integers, not ", DescribeJsonType(*value)));
  }
  std::vector<int64_t> numbers;
  numbers.reserve(value->size());
  for (const Json& item : *value) {
    const std::optional<int64_t> number = JsonInteger(item);
    if (!number) {
      return Fail(name, absl::StrCat("must hold integers only, not ", DescribeJsonType(item)));
    }
    numbers.push_back(*number);
  }
  *out = std::move(numbers);
}

void FieldReader::Read(absl::string_view name, std::vector<std::string>* out) {
  const Json* value = FindSet(name);
  if (value == nullptr) return;
  if (!value->is_array()) {
    return Fail(name, absl::StrCat("must be a list of strings, not ", DescribeJsonType(*value)));
  }
  std::vector<std::string> texts;
  for (const Json& item : *value) {
    if (!item.is_string()) {
      return Fail(name, absl::StrCat("must hold strings only, not ", DescribeJsonType(item)));
    }
    texts.push_back(item.get<std::string>());
  }
  *out = std::move(texts);
}

void FieldReader::Fail(absl::string_view name, absl::string_view message) {
  Fail(InvalidField(name, message));
}

void FieldReader::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

std::vector<std::string> FieldReader::UnknownFields() const {
  std::vector<std::string> unknown;
  size_t index = 0;
  for (const auto& [key, value] : *object_.get_ptr<const Json::object_t*>()) {
    if (!known_[index++]) unknown.push_back(key);
  }
  return unknown;
}

}  // namespace baton::gateway
