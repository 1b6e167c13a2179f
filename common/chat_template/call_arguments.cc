#include "common/chat_template/call_arguments.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace baton {

absl::StatusOr<BoundArguments> BoundArguments::Bind(
    absl::string_view callable, std::initializer_list<absl::string_view> parameters,
    size_t num_required, CallArguments arguments) {
  BoundArguments bound;
  bound.callable_ = std::string(callable);
  for (const absl::string_view name : parameters) bound.names_.emplace_back(name);
  bound.values_.resize(parameters.size());
  if (arguments.values.size() > parameters.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(callable, "() takes at most ", parameters.size(), " arguments"));
  }
  for (size_t i = 0; i < arguments.values.size(); ++i) {
    bound.values_[i] = std::move(arguments.values[i]);
  }
  for (auto& [name, value] : arguments.named) {
    const auto found = std::find(parameters.begin(), parameters.end(), name);
    if (found == parameters.end() || bound.values_[found - parameters.begin()].has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(callable, "() has no free parameter '", name, "'"));
    }
    bound.values_[found - parameters.begin()] = std::move(value);
  }
  for (size_t i = 0; i < num_required; ++i) {
    if (bound.values_[i].has_value()) continue;
    return absl::InvalidArgumentError(absl::StrCat(callable, "() lacks '", bound.names_[i], "'"));
  }
  return bound;
}

absl::Status BoundArguments::WrongType(size_t place, absl::string_view expected) const {
  const Value& value = *values_[place];
  if (value.is_undefined()) return absl::InvalidArgumentError(value.undefined_text());
  return absl::InvalidArgumentError(absl::StrCat(callable_, "(): '", names_[place], "' is a ",
                                                 value.type_name(), ", not ", expected));
}

absl::StatusOr<std::string> BoundArguments::Text(size_t place, absl::string_view fallback) const {
  const Value* const value = Get(place);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_text()) return WrongType(place, "a text");
  return value->text();
}

absl::StatusOr<int64_t> BoundArguments::Integer(size_t place, int64_t fallback) const {
  const Value* const value = Get(place);
  if (value == nullptr) return fallback;
  if (!value->is_integral()) return WrongType(place, "a whole number");
  return value->integer();
}

}  // namespace baton
