#include "common/structured_output/number_range.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace baton::structured {
namespace {

// A bound without its sign.
struct Magnitude {
  std::string whole;     // "0", or without leading zeros
  std::string fraction;  // without trailing zeros
  bool exclusive = false;

  bool is_zero() const { return whole == "0" && fraction.empty(); }
};

Magnitude MagnitudeOf(const NumberBound& bound) {
  absl::string_view text = bound.decimal;
  absl::ConsumePrefix(&text, "-");
  const size_t point = text.find('.');
  Magnitude out{std::string(text.substr(0, point)), "", bound.exclusive};
  if (point != absl::string_view::npos) out.fraction = std::string(text.substr(point + 1));
  while (!out.fraction.empty() && out.fraction.back() == '0') out.fraction.pop_back();
  return out;
}

bool IsNegative(const NumberBound& bound) {
  return bound.decimal[0] == '-' && !MagnitudeOf(bound).is_zero();
}

// Texts of magnitudes on one side of a bound.
class RangeSpeller {
 public:
  RangeSpeller(bool integer, Grammar* grammar) : integer_(integer), g_(*grammar) {
    digit_ = g_.Byte('0', '9');
    digits_ = g_.Repeat(digit_, 0, kUnbounded);
  }

  // Magnitudes >= low and <= high, where they are given. Long division into cases: digits that are
  // equal so far, then one that differs.
  ExprId Between(const std::optional<Magnitude>& low, const std::optional<Magnitude>& high) {
    const size_t least = low ? low->whole.size() : 1;
    if (!high) {
      std::vector<ExprId> out = {WholeOfLength(least, low, std::nullopt)};
      out.push_back(
          g_.Concat({g_.Byte('1', '9'), g_.Repeat(digit_, least, kUnbounded), AnyFraction()}));
      return g_.Alternate(std::move(out));
    }
    std::vector<ExprId> out;
    for (size_t length = least; length <= high->whole.size(); ++length) {
      out.push_back(WholeOfLength(length, length == least ? low : std::nullopt,
                                  length == high->whole.size() ? high : std::nullopt));
    }
    return g_.Alternate(std::move(out));
  }

 private:
  ExprId WholeOfLength(size_t length, const std::optional<Magnitude>& low,
                       const std::optional<Magnitude>& high) {
    return Digits(0, length, low, high);
  }

  // Digits from `index` on of a whole part of `length`; the bounds are those that the digits before
  // are equal to.
  ExprId Digits(size_t index, size_t length, const std::optional<Magnitude>& low,
                const std::optional<Magnitude>& high) {
    if (index == length) return Fraction(low, high);
    if (!low && !high && index > 0) {
      return g_.Concat({g_.Repeat(digit_, static_cast<uint32_t>(length - index),
                                  static_cast<uint32_t>(length - index)),
                        AnyFraction()});
    }
    const char first = low ? low->whole[index] : (index == 0 && length > 1 ? '1' : '0');
    const char last = high ? high->whole[index] : '9';
    std::vector<ExprId> out;
    for (char digit = first; digit <= last; ++digit) {
      const bool at_low = low && digit == first;
      const bool at_high = high && digit == last;
      out.push_back(g_.Concat(
          {g_.Byte(static_cast<uint8_t>(digit), static_cast<uint8_t>(digit)),
           Digits(index + 1, length, at_low ? low : std::nullopt, at_high ? high : std::nullopt)}));
    }
    return g_.Alternate(std::move(out));
  }

  ExprId AnyFraction() {
    if (integer_) return g_.Empty();
    return g_.Optional(g_.Concat({g_.Literal("."), g_.Repeat(digit_, 1, kUnbounded)}));
  }

  // What may follow a whole part that equals the bounds'.
  ExprId Fraction(const std::optional<Magnitude>& low, const std::optional<Magnitude>& high) {
    if (!low && !high) return AnyFraction();
    std::vector<ExprId> out;
    if (MayEnd(0, low, high)) out.push_back(g_.Empty());
    if (!integer_) out.push_back(g_.Concat({g_.Literal("."), FractionDigits(0, low, high, true)}));
    return g_.Alternate(std::move(out));
  }

  // Whether the text may end when the first `index` digits of the fraction were the bounds'.
  static bool MayEnd(size_t index, const std::optional<Magnitude>& low,
                     const std::optional<Magnitude>& high) {
    if (low && (index < low->fraction.size() || low->exclusive)) return false;
    // Shorter than the upper bound's is less; as long is equal.
    return !high || index < high->fraction.size() || !high->exclusive;
  }

  // `first`: at least one digit must come.
  ExprId FractionDigits(size_t index, const std::optional<Magnitude>& low,
                        const std::optional<Magnitude>& high, bool first) {
    if (!g_.budget().ok()) return g_.Nothing();
    if (!low && !high) return first ? g_.Repeat(digit_, 1, kUnbounded) : digits_;
    const bool low_done = low && index >= low->fraction.size();
    const bool high_done = high && index >= high->fraction.size();
    std::vector<ExprId> out;
    if (!first && MayEnd(index, low, high)) out.push_back(g_.Empty());
    if ((!low || low_done) && (!high || high_done)) {
      out.push_back(Behind(low, high));
      return g_.Alternate(std::move(out));
    }
    const char least = low && !low_done ? low->fraction[index] : '0';
    const char most = high ? (high_done ? '0' : high->fraction[index]) : '9';
    for (char digit = least; digit <= most; ++digit) {
      const bool at_low = low && digit == least;
      const bool at_high = high && digit == most;
      out.push_back(g_.Concat({g_.Byte(static_cast<uint8_t>(digit), static_cast<uint8_t>(digit)),
                               FractionDigits(index + 1, at_low ? low : std::nullopt,
                                              at_high ? high : std::nullopt, false)}));
    }
    return g_.Alternate(std::move(out));
  }

  // Digits behind all of the bounds' digits, at least one: zeros keep it equal.
  ExprId Behind(const std::optional<Magnitude>& low, const std::optional<Magnitude>& high) {
    const ExprId zeros = g_.Repeat(g_.Literal("0"), 0, kUnbounded);
    const ExprId more = g_.Concat({zeros, g_.Byte('1', '9'), digits_});
    const ExprId equal = g_.Repeat(g_.Literal("0"), 1, kUnbounded);
    const bool may_be_equal = !(low && low->exclusive) && !(high && high->exclusive);
    if (high) return may_be_equal ? equal : g_.Nothing();
    return may_be_equal ? g_.Alternate({equal, more}) : more;
  }

  const bool integer_;
  Grammar& g_;
  ExprId digit_ = 0;
  ExprId digits_ = 0;
};

// Whether `a` <= `b`, or < where one is exclusive.
bool InOrder(const Magnitude& a, const Magnitude& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size();
  if (a.whole != b.whole) return a.whole < b.whole;
  if (a.fraction != b.fraction) return a.fraction < b.fraction;
  return !a.exclusive && !b.exclusive;
}

}  // namespace

ExprId SpellNumbers(const NumberRange& range, Grammar* grammar) {
  RangeSpeller speller(range.integer, grammar);
  std::optional<Magnitude> low, high;
  if (range.low) low = MagnitudeOf(*range.low);
  if (range.high) high = MagnitudeOf(*range.high);
  std::vector<ExprId> out;
  const auto add = [&](const char* sign, const std::optional<Magnitude>& from,
                       const std::optional<Magnitude>& to) {
    if (from && to && !InOrder(*from, *to)) return;
    out.push_back(grammar->Concat({grammar->Literal(sign), speller.Between(from, to)}));
  };
  const bool low_negative = range.low && IsNegative(*range.low);
  const bool high_negative = range.high && IsNegative(*range.high);
  if (!high_negative) add("", low_negative ? std::nullopt : low, high);
  const Magnitude zero{"0", "", true};
  if (!range.low || low_negative) {
    add("-", high_negative ? high : zero, low_negative ? low : std::nullopt);
  }
  return grammar->Alternate(std::move(out));
}

absl::StatusOr<std::string> PlainDecimal(double value) {
  if (!std::isfinite(value) || std::fabs(value) >= 1e300) {
    return absl::InvalidArgumentError("a bound is too large");
  }
  // The shortest digits that mean the number, then without exponent.
  std::string text;
  for (int precision = 1; precision <= 17; ++precision) {
    text = absl::StrFormat("%.*e", precision - 1, value);
    if (std::stod(text) == value) break;
  }
  const size_t mark = text.find('e');
  const int exponent = std::stoi(text.substr(mark + 1));
  std::string digits = text.substr(0, mark);
  const bool negative = digits[0] == '-';
  if (negative) digits.erase(0, 1);
  if (const size_t point = digits.find('.'); point != std::string::npos) digits.erase(point, 1);
  const int whole = exponent + 1;  // digits before the point
  if (whole <= 0) {
    digits = "0." + std::string(static_cast<size_t>(-whole), '0') + digits;
  } else if (static_cast<size_t>(whole) >= digits.size()) {
    digits.append(static_cast<size_t>(whole) - digits.size(), '0');
  } else {
    digits.insert(static_cast<size_t>(whole), ".");
  }
  return negative && value != 0 ? absl::StrCat("-", digits) : digits;
}

}  // namespace baton::structured
