#include "common/config/byte_size.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace baton {
namespace {

constexpr double kLargest = 1e18;
constexpr absl::string_view kPrefixes = "kmgt";  // thousands, millions, ...

// The factor of "", "b", "mib", "gi", "tb"; 0 for what is no unit.
double Factor(absl::string_view unit) {
  absl::ConsumeSuffix(&unit, "b");
  if (unit.empty()) return 1.0;
  const size_t power = kPrefixes.find(unit[0]);
  unit.remove_prefix(1);
  if (power == absl::string_view::npos || (!unit.empty() && unit != "i")) return 0.0;
  return std::pow(unit.empty() ? 1000.0 : 1024.0, static_cast<double>(power + 1));
}

}  // namespace

absl::StatusOr<uint64_t> ParseByteSize(absl::string_view text) {
  const size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const double factor = Factor(absl::AsciiStrToLower(absl::StripAsciiWhitespace(text.substr(end))));
  double number = 0;
  if (factor == 0.0 || !absl::SimpleAtod(text.substr(0, end), &number) ||
      number * factor > kLargest) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is not a size such as 512MiB, 80GiB or 96GB"));
  }
  return static_cast<uint64_t>(number * factor);
}

}  // namespace baton
