// Typed reading of a JSON object's fields, with errors that name the field.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "services/gateway/json/strict_json.h"

namespace baton::gateway {

// A field that is absent or null is unset. Each Read of a present field of the wrong type records
// an error (the first one is kept) and leaves the target as it was. Integers may be written with a
// zero fraction (5.0); booleans and strings are never numbers.
class FieldReader {
 public:
  // `object` must be a JSON object and outlive the reader.
  explicit FieldReader(const Json& object);

  // The field's value, null included, or nullptr when absent. Marks the field as known.
  const Json* Find(absl::string_view name);
  // As Find, but nullptr for null too.
  const Json* FindSet(absl::string_view name);

  void Read(absl::string_view name, bool* out);
  void Read(absl::string_view name, std::optional<bool>* out);
  void Read(absl::string_view name, int64_t* out);
  void Read(absl::string_view name, std::optional<int64_t>* out);
  void Read(absl::string_view name, std::optional<double>* out);
  void Read(absl::string_view name, std::string* out);
  // A list of integers, of strings.
  void Read(absl::string_view name, std::vector<int64_t>* out);
  void Read(absl::string_view name, std::vector<std::string>* out);

  // Records an error about a field unless there is one already.
  void Fail(absl::string_view name, absl::string_view message);
  void Fail(absl::Status status);

  // InvalidArgument with the parameter's name, or OK.
  const absl::Status& status() const { return status_; }

  // Fields that no call has asked for.
  std::vector<std::string> UnknownFields() const;

 private:
  const Json& object_;
  std::vector<bool> known_;  // of each of its members, in order
  absl::Status status_;
};

// What the value is, for messages: "a string", "an integer", "null".
absl::string_view DescribeJsonType(const Json& value);

// The integer that `value` is; nullopt when it is none or beyond int64.
std::optional<int64_t> JsonInteger(const Json& value);

}  // namespace baton::gateway
