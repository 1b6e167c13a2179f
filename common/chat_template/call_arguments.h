// Arguments of a call, and what a callable makes of them.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/chat_template/value.h"

namespace baton {

struct CallArguments {
  std::vector<Value> values;
  std::vector<std::pair<std::string, Value>> named;
};

// One place per parameter, empty where none is given.
class BoundArguments {
 public:
  // Errors: InvalidArgument naming `callable` for too many or too few arguments, an unknown name or
  // a parameter given twice. The first `num_required` must be given.
  static absl::StatusOr<BoundArguments> Bind(absl::string_view callable,
                                             std::initializer_list<absl::string_view> parameters,
                                             size_t num_required, CallArguments arguments);

  // Null where it is not given.
  const Value* Get(size_t place) const {
    return values_[place].has_value() ? &*values_[place] : nullptr;
  }
  // Not given, or None.
  bool IsNone(size_t place) const { return Get(place) == nullptr || Get(place)->is_none(); }

  // Typed reading; `fallback` where it is not given. Errors: InvalidArgument for another type.
  absl::StatusOr<std::string> Text(size_t place, absl::string_view fallback = "") const;
  absl::StatusOr<int64_t> Integer(size_t place, int64_t fallback) const;
  bool Truth(size_t place) const { return Get(place) != nullptr && Get(place)->truth(); }

 private:
  absl::Status WrongType(size_t place, absl::string_view expected) const;

  std::string callable_;
  std::vector<std::string> names_;
  std::vector<std::optional<Value>> values_;
};

}  // namespace baton
