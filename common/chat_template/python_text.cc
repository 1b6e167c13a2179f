#include "common/chat_template/python_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "common/utf8/utf8.h"

namespace baton {
namespace {

// Where the last character of `text`, which is not empty, begins.
size_t LastCharacter(absl::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

template <typename Drop>
absl::string_view DropLeft(absl::string_view text, Drop drop) {
  while (!text.empty()) {
    const Utf8Step step = NextUtf8(text);
    if (!drop(step.code_point, text.substr(0, step.length))) break;
    text.remove_prefix(step.length);
  }
  return text;
}

template <typename Drop>
absl::string_view DropRight(absl::string_view text, Drop drop) {
  while (!text.empty()) {
    const size_t begin = LastCharacter(text);
    if (!drop(NextUtf8(text.substr(begin)).code_point, text.substr(begin))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

bool DropSpace(char32_t c, absl::string_view) { return IsPythonSpace(c); }

auto DropAnyOf(absl::string_view characters) {
  return [characters](char32_t, absl::string_view c) { return absl::StrContains(characters, c); };
}

bool IsLineEnd(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

struct CodePointRange {
  char32_t first;
  char32_t last;
};

// Format characters and private use: str.isprintable is false for them.
constexpr CodePointRange kFormatCharacters[] = {
    {0xAD, 0xAD},       {0x600, 0x605},     {0x61C, 0x61C},     {0x6DD, 0x6DD},
    {0x70F, 0x70F},     {0x890, 0x891},     {0x8E2, 0x8E2},     {0x180E, 0x180E},
    {0x200B, 0x200F},   {0x202A, 0x202E},   {0x2060, 0x2064},   {0x2066, 0x206F},
    {0xE000, 0xF8FF},   {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB},   {0xFFFE, 0xFFFF},
    {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3},
    {0x1D173, 0x1D17A}, {0xE0001, 0xE0001}, {0xE0020, 0xE007F}, {0xF0000, 0x10FFFF},
};

// str.isprintable; characters that are not assigned count as printable.
bool IsPrintable(char32_t c) {
  if (c < 0x7F) return c >= 0x20;
  if (c <= 0xA0 || IsPythonSpace(c)) return false;
  return std::none_of(
      std::begin(kFormatCharacters), std::end(kFormatCharacters),
      [c](const CodePointRange& range) { return c >= range.first && c <= range.last; });
}

void AppendEscape(char32_t c, std::string* out) {
  const auto number = static_cast<unsigned>(c);
  if (c < 0x100) {
    absl::StrAppendFormat(out, "\\x%02x", number);
  } else if (c < 0x10000) {
    absl::StrAppendFormat(out, "\\u%04x", number);
  } else {
    absl::StrAppendFormat(out, "\\U%08x", number);
  }
}

}  // namespace

bool IsPythonSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

absl::string_view StripLeft(absl::string_view text) { return DropLeft(text, DropSpace); }
absl::string_view StripRight(absl::string_view text) { return DropRight(text, DropSpace); }
absl::string_view StripLeft(absl::string_view text, absl::string_view characters) {
  return DropLeft(text, DropAnyOf(characters));
}
absl::string_view StripRight(absl::string_view text, absl::string_view characters) {
  return DropRight(text, DropAnyOf(characters));
}

std::vector<absl::string_view> SplitWhiteSpace(absl::string_view text, int64_t max_splits) {
  std::vector<absl::string_view> parts;
  text = StripLeft(text);
  while (!text.empty()) {
    if (max_splits >= 0 && static_cast<int64_t>(parts.size()) == max_splits) {
      parts.push_back(StripRight(text));
      break;
    }
    const absl::string_view rest =
        DropLeft(text, [](char32_t c, absl::string_view) { return !IsPythonSpace(c); });
    parts.push_back(text.substr(0, text.size() - rest.size()));
    text = StripLeft(rest);
  }
  return parts;
}

std::vector<absl::string_view> SplitText(absl::string_view text, absl::string_view separator,
                                         int64_t max_splits) {
  std::vector<absl::string_view> parts;
  while (max_splits < 0 || static_cast<int64_t>(parts.size()) < max_splits) {
    const size_t found = text.find(separator);
    if (found == absl::string_view::npos) break;
    parts.push_back(text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  parts.push_back(text);
  return parts;
}

std::vector<absl::string_view> SplitTextFromRight(absl::string_view text,
                                                  absl::string_view separator, int64_t max_splits) {
  std::vector<absl::string_view> parts;
  while (max_splits < 0 || static_cast<int64_t>(parts.size()) < max_splits) {
    const size_t found = text.rfind(separator);
    if (found == absl::string_view::npos) break;
    parts.push_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  parts.push_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<absl::string_view> SplitLines(absl::string_view text, bool keep_ends) {
  std::vector<absl::string_view> lines;
  while (!text.empty()) {
    const absl::string_view rest =
        DropLeft(text, [](char32_t c, absl::string_view) { return !IsLineEnd(c); });
    const size_t length = text.size() - rest.size();
    size_t end = absl::StartsWith(rest, "\r\n") ? 2 : 0;
    if (end == 0 && !rest.empty()) end = NextUtf8(rest).length;
    lines.push_back(text.substr(0, keep_ends ? length + end : length));
    text.remove_prefix(length + end);
  }
  return lines;
}

std::string ReplaceText(absl::string_view text, absl::string_view old_text,
                        absl::string_view new_text, int64_t max_count) {
  std::string out;
  int64_t count = 0;
  if (old_text.empty()) {  // before every character and at the end
    for (const absl::string_view c : Characters(text)) {
      if (max_count < 0 || count++ < max_count) absl::StrAppend(&out, new_text);
      absl::StrAppend(&out, c);
    }
    if (max_count < 0 || count < max_count) absl::StrAppend(&out, new_text);
    return out;
  }
  for (; max_count < 0 || count < max_count; ++count) {
    const size_t found = text.find(old_text);
    if (found == absl::string_view::npos) break;
    absl::StrAppend(&out, text.substr(0, found), new_text);
    text.remove_prefix(found + old_text.size());
  }
  absl::StrAppend(&out, text);
  return out;
}

size_t CountCharacters(absl::string_view text) {
  size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(NextUtf8(text).length);
  return count;
}

std::vector<absl::string_view> Characters(absl::string_view text) {
  std::vector<absl::string_view> characters;
  while (!text.empty()) {
    characters.push_back(text.substr(0, NextUtf8(text).length));
    text.remove_prefix(characters.back().size());
  }
  return characters;
}

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const double magnitude = std::fabs(value);
  const bool plain = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  const auto result =
      std::to_chars(buffer, buffer + sizeof(buffer), value,
                    plain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(buffer, result.ptr);
  if (plain && text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string QuotedText(absl::string_view text) {
  const char quote = absl::StrContains(text, '\'') && !absl::StrContains(text, '"') ? '"' : '\'';
  std::string out(1, quote);
  while (!text.empty()) {
    const Utf8Step step = NextUtf8(text);
    const char32_t c = step.code_point;
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      absl::StrAppend(&out, "\\", text.substr(0, 1));
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (!IsPrintable(c)) {
      AppendEscape(c, &out);
    } else {
      absl::StrAppend(&out, text.substr(0, step.length));
    }
    text.remove_prefix(step.length);
  }
  out.push_back(quote);
  return out;
}

namespace {

void AppendJsonEscape(char32_t c, std::string* out) {
  if (c >= 0x10000) {
    const char32_t rest = c - 0x10000;
    absl::StrAppendFormat(out, "\\u%04x\\u%04x", static_cast<unsigned>(0xD800 + (rest >> 10)),
                          static_cast<unsigned>(0xDC00 + (rest & 0x3FF)));
  } else {
    absl::StrAppendFormat(out, "\\u%04x", static_cast<unsigned>(c));
  }
}

}  // namespace

std::string JsonText(absl::string_view text, bool ensure_ascii) {
  constexpr absl::string_view kShortFrom = "\"\\\n\r\t\f\b";
  constexpr absl::string_view kShortTo = "\"\\nrtfb";
  std::string out = "\"";
  while (!text.empty()) {
    const Utf8Step step = NextUtf8(text);
    const size_t brief = step.length == 1 ? kShortFrom.find(text[0]) : absl::string_view::npos;
    if (brief != absl::string_view::npos) {
      absl::StrAppend(&out, "\\", kShortTo.substr(brief, 1));
    } else if (step.code_point < 0x20 || (ensure_ascii && step.code_point > 0x7E)) {
      AppendJsonEscape(step.code_point, &out);
    } else {
      absl::StrAppend(&out, text.substr(0, step.length));
    }
    text.remove_prefix(step.length);
  }
  out.push_back('"');
  return out;
}

}  // namespace baton
