// Typed, range-checked reading of one JSON object; the first fault is kept and names field and
// value.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace baton {

class ConfigFields {
 public:
  // `prefix` goes before field names in messages: "rope_scaling.". `object` must outlive this.
  ConfigFields(const nlohmann::json& object, std::string prefix)
      : object_(object), prefix_(std::move(prefix)) {}

  // Each returns the field's value, or `fallback` if the field is absent or null. Without a
  // fallback such a field is a fault; so are a wrong type and a value outside [min, max]. After a
  // fault the return value is meaningless.
  int64_t Integer(absl::string_view key, int64_t min, int64_t max,
                  std::optional<int64_t> fallback = std::nullopt);
  double Number(absl::string_view key, double min, double max,
                std::optional<double> fallback = std::nullopt);
  bool Flag(absl::string_view key, bool fallback);
  std::string Text(absl::string_view key, std::optional<std::string> fallback = std::nullopt);

  // A fault unless the text field is absent, null or one of `allowed`.
  void ExpectText(absl::string_view key, std::initializer_list<absl::string_view> allowed);
  // A fault if the flag is there and is not `value`: the other one is not implemented.
  void ExpectFlag(absl::string_view key, bool value);
  // A fault if the number is there and is not `value`.
  void ExpectInteger(absl::string_view key, int64_t value);
  // A fault if the object has a key, other than with null, that is not one of `known`: what it
  // would change is not known.
  void ExpectKeys(std::initializer_list<absl::string_view> known);
  // The value, or null if absent.
  const nlohmann::json* Find(absl::string_view key) const;
  // Records a fault of `key`: "<key> is <value>; <wanted>".
  void Refuse(absl::string_view key, absl::string_view wanted);

  const absl::Status& status() const { return status_; }

 private:
  const nlohmann::json& object_;
  std::string prefix_;
  absl::Status status_;
};

}  // namespace baton
