#include "common/chat_template/template_lexer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/python_text.h"
#include "common/chat_template/string_literal.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

constexpr size_t kNone = absl::string_view::npos;
// Longest first.
constexpr std::array<absl::string_view, 6> kTwoByteOperators = {"//", "**", "==", "!=", ">=", "<="};
constexpr absl::string_view kOneByteOperators = "+-/*%~[](){}><=.:|,;";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || IsDigit(c) ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Line ends as \n, and not the last one.
std::string NormalizeLines(absl::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
      continue;
    }
    out.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (absl::EndsWith(out, "\n")) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(absl::string_view source) : source_(source) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (place_ < source_.size()) {
      const size_t tag = FindTag();
      if (tag == kNone) {
        Emit(TokenKind::kText, Rest());
        Advance(source_.size() - place_);
        break;
      }
      RETURN_IF_ERROR(Tag(tag));
    }
    Emit(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  absl::string_view Rest() const { return source_.substr(place_); }
  bool Follows(absl::string_view text) const { return absl::StartsWith(Rest(), text); }

  void Advance(size_t length) {
    const absl::string_view passed = source_.substr(place_, length);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    place_ += length;
  }

  void SkipSpace() { Advance(Rest().size() - StripLeft(Rest()).size()); }

  void Emit(TokenKind kind, absl::string_view text) {
    if (kind == TokenKind::kText && text.empty()) return;
    tokens_.push_back({kind, std::string(text), line_});
  }

  size_t FindTag() const {
    size_t found = source_.find('{', place_);
    while (found != kNone && found + 1 < source_.size()) {
      const char next = source_[found + 1];
      if (next == '%' || next == '{' || next == '#') return found;
      found = source_.find('{', found + 1);
    }
    return kNone;
  }

  // `text`, which stands before a tag with this sign, as it is printed.
  absl::string_view BeforeTag(absl::string_view text, char sign, bool is_variable) const {
    if (sign == '-') return StripRight(text);
    if (sign == '+' || is_variable) return text;
    const size_t line_break = text.rfind('\n');
    const size_t line = line_break == kNone ? 0 : line_break + 1;
    const bool at_line_start = line > 0 || place_ == 0 || source_[place_ - 1] == '\n';
    if (at_line_start && StripLeft(text.substr(line)).empty()) return text.substr(0, line);
    return text;
  }

  absl::Status Tag(size_t tag) {
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const bool has_sign = sign == '-' || sign == '+';
    Emit(TokenKind::kText,
         BeforeTag(source_.substr(place_, tag - place_), sign, /*is_variable=*/kind == '{'));
    Advance(tag - place_ + (has_sign ? 3 : 2));
    if (kind == '#') return Comment();
    if (kind == '%' && IsRaw()) return Raw();
    Emit(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
    return Code(kind == '%');
  }

  // Passes the end of a tag that `close` ("%}", "#}") ends and that may have a sign before it.
  void PassClose(absl::string_view close) {
    const char sign = Rest()[0];
    Advance((sign == '-' || sign == '+') ? 1 + close.size() : close.size());
    if (sign == '-') {
      SkipSpace();
    } else if (sign != '+' && Follows("\n")) {
      Advance(1);
    }
  }

  absl::Status Comment() {
    const size_t close = source_.find("#}", place_);
    if (close == kNone) return TemplateError(line_, "a comment is not closed");
    const bool has_sign =
        close > place_ && (source_[close - 1] == '-' || source_[close - 1] == '+');
    Advance(close - place_ - (has_sign ? 1 : 0));
    PassClose("#}");
    return absl::OkStatus();
  }

  bool IsRaw() const {
    absl::string_view rest = StripLeft(Rest());
    if (!absl::StartsWith(rest, "raw")) return false;
    rest = StripLeft(rest.substr(3));
    return absl::StartsWith(rest, "%}") || absl::StartsWith(rest, "-%}");
  }

  absl::Status Raw() {
    const int line = line_;
    Advance(source_.find("%}", place_) - place_ + 2);
    if (source_[place_ - 3] == '-') SkipSpace();
    for (size_t tag = source_.find("{%", place_); tag != kNone; tag = source_.find("{%", tag + 2)) {
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      const bool has_sign = sign == '-' || sign == '+';
      absl::string_view rest = StripLeft(source_.substr(tag + (has_sign ? 3 : 2)));
      if (!absl::StartsWith(rest, "endraw")) continue;
      rest = StripLeft(rest.substr(6));
      const bool close_sign = absl::StartsWith(rest, "-%}") || absl::StartsWith(rest, "+%}");
      if (!close_sign && !absl::StartsWith(rest, "%}")) continue;
      Emit(TokenKind::kText, BeforeTag(source_.substr(place_, tag - place_), sign, false));
      Advance(source_.size() - rest.size() - place_);
      PassClose("%}");
      return absl::OkStatus();
    }
    return TemplateError(line, "raw is not closed");
  }

  absl::Status Code(bool is_block) {
    const int line = line_;
    const absl::string_view close = is_block ? "%}" : "}}";
    std::string open;  // the closing brackets that are due
    while (true) {
      SkipSpace();
      if (place_ == source_.size()) return TemplateError(line, "a tag is not closed");
      if (open.empty() && AtClose(close, is_block)) break;
      RETURN_IF_ERROR(CodeToken(open));
    }
    Emit(is_block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, "");
    if (is_block) {
      PassClose(close);
    } else {
      const bool strip = Follows("-");
      Advance(strip ? 3 : 2);
      if (strip) SkipSpace();
    }
    return absl::OkStatus();
  }

  bool AtClose(absl::string_view close, bool is_block) const {
    return Follows(close) || Follows(absl::StrCat("-", close)) ||
           (is_block && Follows(absl::StrCat("+", close)));
  }

  absl::Status CodeToken(std::string& open) {
    const char c = Rest()[0];
    if (IsDigit(c)) return Number();
    if (IsNameByte(c)) {
      size_t length = 1;
      while (length < Rest().size() && IsNameByte(Rest()[length])) ++length;
      Emit(TokenKind::kName, Rest().substr(0, length));
      Advance(length);
      return absl::OkStatus();
    }
    if (c == '"' || c == '\'') return String();
    return Operator(open);
  }

  absl::Status Number() {
    const absl::string_view rest = Rest();
    size_t length = 0;
    const auto digits = [&] {
      while (length < rest.size() && (IsDigit(rest[length]) || rest[length] == '_')) ++length;
    };
    const auto digit_at = [&](size_t at) { return at < rest.size() && IsDigit(rest[at]); };
    digits();
    TokenKind kind = TokenKind::kInteger;
    if (length < rest.size() && rest[length] == '.' && digit_at(length + 1)) {
      kind = TokenKind::kFloat;
      ++length;
      digits();
    }
    if (length < rest.size() && (rest[length] == 'e' || rest[length] == 'E')) {
      const bool sign =
          length + 1 < rest.size() && (rest[length + 1] == '+' || rest[length + 1] == '-');
      if (digit_at(length + (sign ? 2 : 1))) {
        kind = TokenKind::kFloat;
        length += sign ? 2 : 1;
        digits();
      }
    }
    if (length < rest.size() && IsNameByte(rest[length])) {
      return TemplateError(line_, "a number runs into a name");
    }
    std::string text(rest.substr(0, length));
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    Emit(kind, text);
    Advance(length);
    return absl::OkStatus();
  }

  absl::Status String() {
    const char quote = Rest()[0];
    size_t end = 1;
    while (end < Rest().size() && Rest()[end] != quote) end += Rest()[end] == '\\' ? 2 : 1;
    if (end >= Rest().size()) return TemplateError(line_, "a text is not closed");
    auto value = UnescapeString(Rest().substr(1, end - 1));
    if (!value.ok()) return TemplateError(line_, value.status().message());
    Emit(TokenKind::kString, *value);
    Advance(end + 1);
    return absl::OkStatus();
  }

  absl::Status Operator(std::string& open) {
    for (const absl::string_view two : kTwoByteOperators) {
      if (!Follows(two)) continue;
      Emit(TokenKind::kOperator, two);
      Advance(2);
      return absl::OkStatus();
    }
    const absl::string_view c = Rest().substr(0, 1);
    if (!absl::StrContains(kOneByteOperators, c)) {
      return TemplateError(line_, absl::StrCat("unexpected character ", QuotedText(c)));
    }
    const size_t opening = absl::string_view("([{").find(c);
    if (opening != kNone) {
      open.push_back(")]}"[opening]);
    } else if (absl::StrContains(")]}", c)) {
      if (open.empty() || open.back() != c[0]) {
        return TemplateError(line_, absl::StrCat("unexpected '", c, "'"));
      }
      open.pop_back();
    }
    Emit(TokenKind::kOperator, c);
    Advance(1);
    return absl::OkStatus();
  }

  absl::string_view source_;
  size_t place_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

absl::Status TemplateError(int line, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("chat template line ", line, ": ", message));
}

absl::StatusOr<std::vector<Token>> LexTemplate(absl::string_view source) {
  const std::string normalized = NormalizeLines(source);
  return Lexer(normalized).Run();
}

}  // namespace baton
