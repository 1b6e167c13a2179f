// A regular expression of a tokenizer.json, compiled by PCRE2 with its JIT.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/tokenizer/byte_range.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;

namespace baton {

// Immutable; any number of Matchers in any threads may use one.
class Pattern {
 public:
  // From Oniguruma's syntax, in which tokenizer.json writes its patterns. What PCRE2 would read
  // differently is translated (\s is Unicode's White_Space) or refused (\w, anchors, set
  // operations, named groups and the like), so that a pattern accepted means the same.
  // Errors: InvalidArgument with the place.
  static absl::StatusOr<Pattern> FromOniguruma(absl::string_view source);
  // From PCRE2's own syntax.
  static absl::StatusOr<Pattern> FromPcre2(absl::string_view source);
  // Exactly this text.
  static absl::StatusOr<Pattern> FromText(absl::string_view text);

  // Whether a match may have no bytes, as far as PCRE2 knows.
  bool may_match_nothing() const { return may_match_nothing_; }

  // Searches with working memory of its own; not thread-safe. `pattern` must outlive it.
  class Matcher {
   public:
    explicit Matcher(const Pattern& pattern);

    // The first match in `text`, valid UTF-8, at or after `start`; none: nullopt. Errors:
    // InvalidArgument when PCRE2 gives up at its limits (10^7 steps, 64 MiB), which takes a pattern
    // that is exponential; ResourceExhausted without memory; Internal for its other errors.
    absl::StatusOr<std::optional<ByteRange>> Find(absl::string_view text, size_t start);

   private:
    struct Free {
      void operator()(pcre2_real_match_data_8* match_data) const;
    };

    const Pattern& pattern_;
    std::unique_ptr<pcre2_real_match_data_8, Free> match_data_;
  };

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
    void operator()(pcre2_real_match_context_8* context) const;
  };

  static absl::StatusOr<Pattern> Compile(absl::string_view source, uint32_t options);

  std::unique_ptr<pcre2_real_code_8, Free> code_;
  std::unique_ptr<pcre2_real_match_context_8, Free> limits_;
  bool jit_ = false;
  bool may_match_nothing_ = true;
};

}  // namespace baton
