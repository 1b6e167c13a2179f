// Values written out.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"

#include "common/chat_template/value.h"

namespace baton {

// str(value), which is what `{{ value }}` prints; Undefined is nothing.
// Errors: InvalidArgument for functions, loops and namespaces.
absl::StatusOr<std::string> TextOf(const Value& value);

// Options of json.dumps that transformers' tojson passes on.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // of one level; none: everything on one line
  std::optional<std::string> item_separator;
  std::string key_separator = ": ";
};

// json.dumps(value). Errors: InvalidArgument for what JSON cannot hold.
absl::StatusOr<std::string> JsonOf(const Value& value, const JsonStyle& style);

}  // namespace baton
