#include "services/gateway/admission/request_headers.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {

TraceContext ReadTraceContext(absl::string_view parent, absl::string_view state) {
  constexpr absl::string_view kForm = "xx-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
  constexpr size_t kMaxStateBytes = 512;
  const auto fits = [](char form, char c) {
    return form == '-' ? c == '-' : absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
  };
  if (parent.size() != kForm.size() ||
      !std::equal(kForm.begin(), kForm.end(), parent.begin(), fits)) {
    return {};
  }
  const bool plain =
      state.size() <= kMaxStateBytes && std::all_of(state.begin(), state.end(), [](char c) {
        return absl::ascii_isprint(static_cast<unsigned char>(c));
      });
  return {std::string(parent), plain ? std::string(state) : std::string()};
}

absl::StatusOr<absl::Duration> ParseRequestTimeout(absl::string_view value, absl::Duration most) {
  if (value.empty()) return most;
  double seconds = 0;
  const bool decimal = value.find_first_not_of("0123456789.") == absl::string_view::npos;
  if (!decimal || !absl::SimpleAtod(value, &seconds) || seconds <= 0) {
    return InvalidField(kTimeoutHeader,
                        absl::StrCat("must be a decimal number of seconds above 0, got \"",
                                     value.substr(0, 64), "\""));
  }
  return std::min(absl::Seconds(seconds), most);
}

absl::StatusOr<std::optional<int32_t>> ParsePriority(absl::string_view value) {
  if (value.empty()) return std::nullopt;
  int32_t priority = 0;
  if (absl::SimpleAtoi(value, &priority)) return priority;
  return InvalidField(kPriorityHeader, absl::StrCat("must be an integer of 32 bits, got \"",
                                                    value.substr(0, 64), "\""));
}

}  // namespace baton::gateway
