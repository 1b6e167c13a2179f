// Reads a pattern character by character: what regular expressions and EBNF have in common.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/structured_output/code_point_set.h"

namespace baton::structured {

class PatternCursor final {
 public:
  // `text` is valid UTF-8 and must outlive the cursor; `what` names it in messages ("regex").
  PatternCursor(absl::string_view text, absl::string_view what) : text_(text), what_(what) {}

  bool at_end() const { return position_ >= text_.size(); }
  size_t position() const { return position_; }
  void MoveTo(size_t position) { position_ = position; }
  absl::string_view rest() const { return text_.substr(position_); }
  // The byte `ahead` of the next one; 0 beyond the end.
  char Peek(size_t ahead = 0) const {
    return position_ + ahead < text_.size() ? text_[position_ + ahead] : '\0';
  }
  // Whether `text` comes next; then it is taken.
  bool TryTake(absl::string_view text);
  // The next character; not at the end.
  char32_t Take();

  // After `[`: up to and with its `]`.
  absl::StatusOr<CodePointSet> TakeClass();
  // After a backslash: a class (\d), or a character. Anchors, back references and properties are
  // refused.
  absl::StatusOr<CodePointSet> TakeEscape();
  // At `*`, `+`, `?` or `{m,n}`: least and most, with `kUnbounded`; nothing if none comes next. A
  // brace that begins no quantifier is none.
  absl::StatusOr<std::optional<std::pair<uint32_t, uint32_t>>> TakeQuantifier();

  // InvalidArgument "`what` at byte N: `problem`".
  absl::Status Error(absl::string_view problem) const;

 private:
  absl::StatusOr<char32_t> TakeHex(size_t least, size_t most);
  absl::StatusOr<char32_t> TakeUnicodeEscape();
  absl::StatusOr<std::optional<std::pair<uint32_t, uint32_t>>> TakeBraces();

  const absl::string_view text_;
  const absl::string_view what_;
  size_t position_ = 0;
};

}  // namespace baton::structured
