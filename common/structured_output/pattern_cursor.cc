#include "common/structured_output/pattern_cursor.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "common/utf8/utf8.h"

namespace baton::structured {
namespace {

const CodePointSet& Digits() {
  static const auto* const kSet = new CodePointSet({{'0', '9'}});
  return *kSet;
}
const CodePointSet& WordCharacters() {
  static const auto* const kSet =
      new CodePointSet({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
  return *kSet;
}
const CodePointSet& Blanks() {
  static const auto* const kSet = new CodePointSet({{'\t', '\r'}, {' ', ' '}});
  return *kSet;
}

// The one character of a set that has one.
std::optional<char32_t> OnlyCharacter(const CodePointSet& set) {
  if (set.ranges().size() != 1) return std::nullopt;
  const auto& [low, high] = set.ranges().front();
  return low == high ? std::optional<char32_t>(low) : std::nullopt;
}

}  // namespace

absl::Status PatternCursor::Error(absl::string_view problem) const {
  return absl::InvalidArgumentError(absl::StrCat(what_, " at byte ", position_, ": ", problem));
}

bool PatternCursor::TryTake(absl::string_view text) {
  if (!absl::StartsWith(rest(), text)) return false;
  position_ += text.size();
  return true;
}

char32_t PatternCursor::Take() {
  const Utf8Step step = NextUtf8(rest());
  position_ += step.length;
  return step.code_point;
}

absl::StatusOr<char32_t> PatternCursor::TakeHex(size_t least, size_t most) {
  size_t length = 0;
  while (length < most && absl::ascii_isxdigit(static_cast<unsigned char>(Peek(length)))) ++length;
  uint32_t value = 0;
  if (length < least || !absl::SimpleHexAtoi(rest().substr(0, length), &value) ||
      value > kLastCodePoint) {
    return Error("a character's number must be hexadecimal and at most 10FFFF");
  }
  position_ += length;
  return static_cast<char32_t>(value);
}

// After `\u`: XXXX, {X...}, or two surrogates as \uXXXX\uXXXX.
absl::StatusOr<char32_t> PatternCursor::TakeUnicodeEscape() {
  if (TryTake("{")) {
    ASSIGN_OR_RETURN(const char32_t code_point, TakeHex(1, 6));
    if (!TryTake("}")) return Error("expected }");
    return code_point;
  }
  ASSIGN_OR_RETURN(const char32_t first, TakeHex(4, 4));
  if (first < 0xD800 || first > 0xDFFF) return first;
  if (first < 0xDC00 && TryTake("\\u")) {
    ASSIGN_OR_RETURN(const char32_t second, TakeHex(4, 4));
    if (second >= 0xDC00 && second <= 0xDFFF) {
      return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    }
  }
  return Error("half a surrogate pair is no character");
}

absl::StatusOr<CodePointSet> PatternCursor::TakeEscape() {
  if (at_end()) return Error("ends with a backslash");
  const char32_t escaped = Take();
  CodePointSet out;
  const auto take_number = [&](absl::StatusOr<char32_t> number) -> absl::StatusOr<CodePointSet> {
    if (!number.ok()) return number.status();
    out.Add(*number);
    return out;
  };
  switch (escaped) {
    case 'd':
      return Digits();
    case 'D':
      return Digits().Complement();
    case 'w':
      return WordCharacters();
    case 'W':
      return WordCharacters().Complement();
    case 's':
      return Blanks();
    case 'S':
      return Blanks().Complement();
    case 'x':
      return take_number(TakeHex(2, 2));
    case 'u':
      return take_number(TakeUnicodeEscape());
    case 'U':
      return take_number(TakeHex(8, 8));
    default:
      break;
  }
  static constexpr absl::string_view kNames = "tnrfva0";
  static constexpr absl::string_view kMeant("\t\n\r\f\v\a\0", 7);
  if (escaped < 0x80) {
    const char byte = static_cast<char>(escaped);
    if (const size_t at = kNames.find(byte); at != absl::string_view::npos) {
      out.Add(static_cast<char32_t>(kMeant[at]));
      return out;
    }
    if (absl::ascii_isalnum(static_cast<unsigned char>(byte))) {
      return Error(absl::StrCat("\\", std::string(1, byte), " is not supported"));
    }
  }
  out.Add(escaped);
  return out;
}

absl::StatusOr<CodePointSet> PatternCursor::TakeClass() {
  const bool negated = TryTake("^");
  CodePointSet out;
  for (bool first = true; first || Peek() != ']'; first = false) {
    if (at_end()) return Error("a [ without its ]");
    CodePointSet item;
    if (TryTake("\\")) {
      if (TryTake("b")) {
        item.Add('\b');
      } else {
        ASSIGN_OR_RETURN(item, TakeEscape());
      }
    } else {
      item.Add(Take());
    }
    if (Peek() != '-' || Peek(1) == ']' || Peek(1) == '\0') {
      out.AddAll(item);
      continue;
    }
    ++position_;
    CodePointSet last;
    if (TryTake("\\")) {
      ASSIGN_OR_RETURN(last, TakeEscape());
    } else {
      last.Add(Take());
    }
    const std::optional<char32_t> low = OnlyCharacter(item);
    const std::optional<char32_t> high = OnlyCharacter(last);
    if (!low || !high || *low > *high) return Error("a range in [] must go from low to high");
    out.AddRange(*low, *high);
  }
  ++position_;
  return negated ? out.Complement() : out;
}

absl::StatusOr<std::optional<std::pair<uint32_t, uint32_t>>> PatternCursor::TakeBraces() {
  const size_t close = rest().find('}');
  if (close == absl::string_view::npos) return std::nullopt;
  const absl::string_view inside = rest().substr(1, close - 1);
  const size_t comma = inside.find(',');
  const absl::string_view low = inside.substr(0, comma);
  const absl::string_view high = comma == absl::string_view::npos ? low : inside.substr(comma + 1);
  const auto is_number = [](absl::string_view text) {
    return text.find_first_not_of("0123456789") == absl::string_view::npos;
  };
  if (inside.empty() || inside == "," || !is_number(low) || !is_number(high)) return std::nullopt;
  uint32_t least = 0;
  uint32_t most = kUnbounded;
  if ((!low.empty() && !absl::SimpleAtoi(low, &least)) ||
      (!high.empty() && !absl::SimpleAtoi(high, &most)) || least > most) {
    return Error(absl::StrCat("{", inside, "} is no range of numbers"));
  }
  position_ += close + 1;
  return std::make_pair(least, most);
}

absl::StatusOr<std::optional<std::pair<uint32_t, uint32_t>>> PatternCursor::TakeQuantifier() {
  if (TryTake("*")) return std::make_pair(0u, kUnbounded);
  if (TryTake("+")) return std::make_pair(1u, kUnbounded);
  if (TryTake("?")) return std::make_pair(0u, 1u);
  if (Peek() == '{') return TakeBraces();
  return std::nullopt;
}

}  // namespace baton::structured
