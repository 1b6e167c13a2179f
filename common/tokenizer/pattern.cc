#include "common/tokenizer/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"

namespace baton {
namespace {

constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;

// Unicode's White_Space, which is Oniguruma's \s; PCRE2's has U+180E on top.
constexpr char kWhiteSpace[] =
    R"(\x{09}-\x{0d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr char kNotWhiteSpaceInSet[] = R"(\S\x{180e})";

// Writes a pattern of Oniguruma's syntax in PCRE2's.
class Translation {
 public:
  explicit Translation(absl::string_view source) : source_(source) {}

  absl::StatusOr<std::string> Run() {
    while (place_ < source_.size()) {
      const char c = source_[place_];
      if (c == '\\') {
        RETURN_IF_ERROR(Escape());
      } else {
        RETURN_IF_ERROR(in_set_ ? InSet(c) : OutsideSet(c));
      }
    }
    return std::move(out_);
  }

 private:
  absl::Status Refuse(absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat("pattern: ", what, " at byte ", place_, " is not supported"));
  }

  bool Follows(absl::string_view text) const {
    return absl::StartsWith(source_.substr(place_), text);
  }

  absl::Status Copy(size_t length) {
    absl::StrAppend(&out_, source_.substr(place_, length));
    place_ += length;
    return absl::OkStatus();
  }

  absl::Status Replace(absl::string_view text) {
    absl::StrAppend(&out_, text);
    place_ += 2;
    return absl::OkStatus();
  }

  absl::Status Escape() {
    if (place_ + 1 == source_.size()) return Refuse("a backslash");
    const char c = source_[place_ + 1];
    if (c == 's') return Replace(in_set_ ? kWhiteSpace : absl::StrCat("[", kWhiteSpace, "]"));
    if (c == 'S') {
      return Replace(in_set_ ? kNotWhiteSpaceInSet : absl::StrCat("[^", kWhiteSpace, "]"));
    }
    if (absl::string_view("pPx").find(c) != absl::string_view::npos) return Braced();
    if (absl::string_view("dDnrtf").find(c) != absl::string_view::npos) return Copy(2);
    const bool is_word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (is_word || static_cast<unsigned char>(c) >= 0x80) {
      return Refuse(absl::StrCat("the escape ", source_.substr(place_, 2)));
    }
    return Copy(2);
  }

  // \p{...}, \x{...} or without braces.
  absl::Status Braced() {
    const absl::string_view rest = source_.substr(place_ + 2);
    if (!absl::StartsWith(rest, "{")) return Copy(2);
    const size_t close = rest.find('}');
    if (close == absl::string_view::npos) return Refuse("an open brace");
    return Copy(2 + close + 1);
  }

  absl::Status InSet(char c) {
    if (c == '[') return Refuse("a set inside a set");
    if (Follows("&&")) return Refuse("an intersection of sets");
    if (c == ']') in_set_ = false;
    return Copy(1);
  }

  absl::Status OutsideSet(char c) {
    if (c == '^' || c == '$') return Refuse("an anchor");
    if (Follows("(*")) return Refuse("a verb");
    if (Follows("}+")) return Refuse("a possessive counted repeat");
    if (c == '[') {
      in_set_ = true;
      const size_t length = Follows("[^") ? 2 : 1;
      if (absl::StartsWith(source_.substr(place_ + length), "]")) return Refuse("an empty set");
      return Copy(length);
    }
    if (Follows("(?")) return Group();
    return Copy(1);
  }

  absl::Status Group() {
    for (const absl::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"}) {
      if (Follows(known)) return Copy(known.size());
    }
    return Refuse("this kind of group");
  }

  absl::string_view source_;
  std::string out_;
  size_t place_ = 0;
  bool in_set_ = false;
};

std::string TextOf(int error) {
  unsigned char message[256] = {};
  pcre2_get_error_message(error, message, sizeof(message));
  return reinterpret_cast<const char*>(message);
}

absl::Status MatchError(int error) {
  const std::string text = absl::StrCat("pattern: ", TextOf(error));
  switch (error) {
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
      return absl::InvalidArgumentError(text);  // another try would end the same
    case PCRE2_ERROR_NOMEMORY:
      return absl::ResourceExhaustedError(text);
    default:
      return absl::InternalError(text);
  }
}

}  // namespace

void Pattern::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }
void Pattern::Free::operator()(pcre2_real_match_context_8* context) const {
  pcre2_match_context_free(context);
}
void Pattern::Matcher::Free::operator()(pcre2_real_match_data_8* match_data) const {
  pcre2_match_data_free(match_data);
}

absl::StatusOr<Pattern> Pattern::FromOniguruma(absl::string_view source) {
  ASSIGN_OR_RETURN(const std::string translated, Translation(source).Run());
  return Compile(translated, 0);
}

absl::StatusOr<Pattern> Pattern::FromPcre2(absl::string_view source) { return Compile(source, 0); }

absl::StatusOr<Pattern> Pattern::FromText(absl::string_view text) {
  return Compile(text, PCRE2_LITERAL);
}

absl::StatusOr<Pattern> Pattern::Compile(absl::string_view source, uint32_t options) {
  options |= PCRE2_UTF;
  if ((options & PCRE2_LITERAL) == 0) options |= PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  PCRE2_SIZE place = 0;
  Pattern pattern;
  pattern.code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(),
                                    options, &error, &place, nullptr));
  if (pattern.code_ == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("pattern: ", TextOf(error), " at byte ", place));
  }
  pattern.limits_.reset(pcre2_match_context_create(nullptr));
  if (pattern.limits_ == nullptr) return absl::ResourceExhaustedError("pattern: no memory");
  pcre2_set_match_limit(pattern.limits_.get(), kMatchLimit);
  pcre2_set_heap_limit(pattern.limits_.get(), kHeapLimitKib);
  uint32_t may_match_nothing = 1;
  if (pcre2_pattern_info(pattern.code_.get(), PCRE2_INFO_MATCHEMPTY, &may_match_nothing) == 0) {
    pattern.may_match_nothing_ = may_match_nothing != 0;
  }
  // Without a JIT on this machine, or for this pattern, PCRE2 interprets: slower, same result.
  pattern.jit_ = pcre2_jit_compile(pattern.code_.get(), PCRE2_JIT_COMPLETE) == 0;
  return pattern;
}

Pattern::Matcher::Matcher(const Pattern& pattern)
    : pattern_(pattern),
      match_data_(pcre2_match_data_create_from_pattern(pattern.code_.get(), nullptr)) {}

absl::StatusOr<std::optional<ByteRange>> Pattern::Matcher::Find(absl::string_view text,
                                                                size_t start) {
  if (match_data_ == nullptr) return MatchError(PCRE2_ERROR_NOMEMORY);
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  pcre2_code* const code = pattern_.code_.get();
  pcre2_match_data* const match_data = match_data_.get();
  int result = PCRE2_ERROR_JIT_STACKLIMIT;
  if (pattern_.jit_) {
    result = pcre2_jit_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK, match_data,
                             pattern_.limits_.get());
  }
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
    result = pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         match_data, pattern_.limits_.get());
  }
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) return MatchError(result);
  const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(match_data);
  return ByteRange{ends[0], ends[1]};
}

}  // namespace baton
