#include "common/model/config_fields.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace baton {
namespace {

using nlohmann::json;

constexpr size_t kMaxShownBytes = 80;

std::string Show(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kMaxShownBytes) text = absl::StrCat(text.substr(0, kMaxShownBytes), "...");
  return text;
}

}  // namespace

const json* ConfigFields::Find(absl::string_view key) const {
  const auto it = object_.find(std::string(key));
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

void ConfigFields::Refuse(absl::string_view key, absl::string_view wanted) {
  if (!status_.ok()) return;
  const json* value = Find(key);
  status_ = absl::InvalidArgumentError(absl::StrCat(
      prefix_, key, " is ", value == nullptr ? "missing" : Show(*value), "; ", wanted));
}

int64_t ConfigFields::Integer(absl::string_view key, int64_t min, int64_t max,
                              std::optional<int64_t> fallback) {
  const json* value = Find(key);
  if (value == nullptr && fallback.has_value()) return *fallback;
  const std::string wanted = absl::StrCat("wanted an integer from ", min, " to ", max);
  if (value == nullptr || !value->is_number_integer()) {
    Refuse(key, wanted);
    return min;
  }
  const bool too_large =
      value->is_number_unsigned() &&
      value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const int64_t number = too_large ? 0 : value->get<int64_t>();
  if (too_large || number < min || number > max) {
    Refuse(key, wanted);
    return min;
  }
  return number;
}

double ConfigFields::Number(absl::string_view key, double min, double max,
                            std::optional<double> fallback) {
  const json* value = Find(key);
  if (value == nullptr && fallback.has_value()) return *fallback;
  const double number =
      value != nullptr && value->is_number() ? value->get<double>() : std::nan("");
  if (!(number >= min && number <= max)) {
    Refuse(key, absl::StrCat("wanted a number from ", min, " to ", max));
    return min;
  }
  return number;
}

bool ConfigFields::Flag(absl::string_view key, bool fallback) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    Refuse(key, "wanted true or false");
    return fallback;
  }
  return value->get<bool>();
}

std::string ConfigFields::Text(absl::string_view key, std::optional<std::string> fallback) {
  const json* value = Find(key);
  if (value == nullptr && fallback.has_value()) return *fallback;
  if (value == nullptr || !value->is_string()) {
    Refuse(key, "wanted a string");
    return "";
  }
  return value->get<std::string>();
}

void ConfigFields::ExpectText(absl::string_view key,
                              std::initializer_list<absl::string_view> allowed) {
  if (Find(key) == nullptr) return;
  const std::string text = Text(key);
  for (absl::string_view candidate : allowed) {
    if (text == candidate) return;
  }
  Refuse(key, absl::StrCat("supported: ", absl::StrJoin(allowed, ", ")));
}

void ConfigFields::ExpectFlag(absl::string_view key, bool value) {
  if (Flag(key, value) != value) Refuse(key, absl::StrCat("supported: ", value ? "true" : "false"));
}

void ConfigFields::ExpectInteger(absl::string_view key, int64_t value) {
  const json* found = Find(key);
  if (found != nullptr && *found != value) Refuse(key, absl::StrCat("supported: ", value));
}

void ConfigFields::ExpectKeys(std::initializer_list<absl::string_view> known) {
  for (const auto& [key, value] : object_.items()) {
    const bool is_known = std::find(known.begin(), known.end(), key) != known.end();
    if (!is_known && !value.is_null()) {
      return Refuse(key, absl::StrCat("known: ", absl::StrJoin(known, ", ")));
    }
  }
}

}  // namespace baton
