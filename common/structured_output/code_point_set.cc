#include "common/structured_output/code_point_set.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"

#include "common/utf8/utf8.h"

namespace baton::structured {
namespace {

constexpr char32_t kBeforeSurrogates = 0xD7FF;
constexpr char32_t kAfterSurrogates = 0xE000;

// Appends the spelling of [low, high] to `out`: as few sequences of byte ranges as there can be.
void SpellRange(char32_t low, char32_t high, Grammar* grammar, std::vector<ExprId>* out) {
  for (const char32_t last : {char32_t{0x7F}, char32_t{0x7FF}, char32_t{0xFFFF}}) {
    if (low <= last && last < high) {
      SpellRange(low, last, grammar, out);
      return SpellRange(last + 1, high, grammar, out);
    }
  }
  // The last bytes must be free where an earlier one varies.
  for (int i = 1; high > 0x7F && i <= 3; ++i) {
    const char32_t mask = (char32_t{1} << (6 * i)) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) {
      SpellRange(low, low | mask, grammar, out);
      return SpellRange((low | mask) + 1, high, grammar, out);
    }
    if ((high & mask) != mask) {
      SpellRange(low, (high & ~mask) - 1, grammar, out);
      return SpellRange(high & ~mask, high, grammar, out);
    }
  }
  std::string first, last;
  AppendCodePoint(low, &first);
  AppendCodePoint(high, &last);
  std::vector<ExprId> bytes;
  for (size_t i = 0; i < first.size(); ++i) {
    bytes.push_back(grammar->Byte(static_cast<uint8_t>(first[i]), static_cast<uint8_t>(last[i])));
  }
  out->push_back(grammar->Concat(std::move(bytes)));
}

// `\u00XX` in either case of its letters.
ExprId SpellControl(char32_t code_point, Grammar* grammar) {
  const ExprId begin = grammar->Literal(code_point < 16 ? "\\u000" : "\\u001");
  const std::string digit = absl::StrFormat("%x", code_point % 16);
  const std::string upper = absl::StrFormat("%X", code_point % 16);
  if (digit == upper) return grammar->Concat({begin, grammar->Literal(digit)});
  return grammar->Concat(
      {begin, grammar->Alternate({grammar->Literal(digit), grammar->Literal(upper)})});
}

}  // namespace

void CodePointSet::AddRange(char32_t low, char32_t high) {
  ranges_.push_back({low, high});
  Normalize();
}

void CodePointSet::AddAll(const CodePointSet& other) {
  ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
  Normalize();
}

void CodePointSet::Normalize() {
  std::sort(ranges_.begin(), ranges_.end());
  std::vector<std::pair<char32_t, char32_t>> out;
  const auto add = [&out](char32_t low, char32_t high) {
    if (low > high) return;
    if (!out.empty() && low <= out.back().second + 1) {
      out.back().second = std::max(out.back().second, high);
    } else {
      out.push_back({low, high});
    }
  };
  for (const auto& [low, high] : ranges_) {
    add(low, std::min(high, kBeforeSurrogates));
    add(std::max(low, kAfterSurrogates), std::min(high, kLastCodePoint));
  }
  ranges_ = std::move(out);
}

CodePointSet CodePointSet::Complement() const {
  CodePointSet out;
  char32_t next = 0;
  for (const auto& [low, high] : ranges_) {
    if (low > next) out.ranges_.push_back({next, low - 1});
    next = high + 1;
  }
  if (next <= kLastCodePoint) out.ranges_.push_back({next, kLastCodePoint});
  out.Normalize();
  return out;
}

CodePointSet CodePointSet::Intersect(const CodePointSet& other) const {
  CodePointSet either = Complement();
  either.AddAll(other.Complement());
  return either.Complement();
}

bool CodePointSet::Contains(char32_t code_point) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [code_point](const auto& range) {
    return range.first <= code_point && code_point <= range.second;
  });
}

ExprId SpellCharacter(const CodePointSet& set, TextSpelling spelling, Grammar* grammar) {
  std::vector<ExprId> out;
  if (spelling == TextSpelling::kPlain) {
    for (const auto& [low, high] : set.ranges()) SpellRange(low, high, grammar, &out);
    return grammar->Alternate(std::move(out));
  }
  static const CodePointSet* const kRaw =
      new CodePointSet({{0x20, 0x21}, {0x23, 0x5B}, {0x5D, kLastCodePoint}});
  const CodePointSet raw = set.Intersect(*kRaw);
  for (const auto& [low, high] : raw.ranges()) {
    SpellRange(low, high, grammar, &out);
  }
  static constexpr std::pair<char32_t, const char*> kEscapes[] = {
      {'"', "\\\""}, {'\\', "\\\\"}, {'/', "\\/"},  {'\b', "\\b"},
      {'\f', "\\f"}, {'\n', "\\n"},  {'\r', "\\r"}, {'\t', "\\t"}};
  for (const auto& [code_point, escape] : kEscapes) {
    if (set.Contains(code_point)) out.push_back(grammar->Literal(escape));
  }
  for (char32_t control = 0; control < 0x20; ++control) {
    if (set.Contains(control)) out.push_back(SpellControl(control, grammar));
  }
  return grammar->Alternate(std::move(out));
}

}  // namespace baton::structured
