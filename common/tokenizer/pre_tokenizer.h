// A text cut into the words that byte-pair encoding looks at one by one.
#pragma once

#include <bitset>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "common/tokenizer/byte_range.h"
#include "common/tokenizer/pattern.h"
#include "common/tokenizer/tokenizer_json.h"

namespace baton {

// The splits of a tokenizer.json one after another: each cuts every piece of the one before, and
// sees that piece alone. Patterns go by Unicode 16 categories (see recent_characters.h). Immutable.
class PreTokenizer {
 private:
  // Of texts of one to three ASCII digits: NumberIndex says where.
  using ShortNumberSet = std::bitset<1110>;

 public:
  // Errors: InvalidArgument with the number of the split whose pattern is not accepted.
  static absl::StatusOr<PreTokenizer> Create(absl::Span<const SplitSpec> splits);

  // Working memory for one caller at a time. The pre-tokenizer must outlive it.
  class Cutter {
   public:
    explicit Cutter(const PreTokenizer& pre_tokenizer);

    // The words of `text`, valid UTF-8, in order; none is empty. Valid until the next call.
    // Errors: as Pattern::Matcher::Find, with the number of the split.
    absl::StatusOr<absl::Span<const ByteRange>> Cut(absl::string_view text);

   private:
    absl::Status CutPiece(size_t step, absl::string_view text, const ByteRange& piece);
    void Add(size_t step, bool is_match, size_t begin, size_t end);

    const PreTokenizer& pre_tokenizer_;
    std::vector<Pattern::Matcher> matchers_;
    std::vector<ByteRange> pieces_;
    std::vector<ByteRange> next_;
    std::string replaced_;
  };

 private:
  struct Step {
    Pattern pattern;
    SplitBehavior behavior;
    bool invert;
    // The numbers in which the pattern finds nothing: DeepSeek's first split makes pieces of up to
    // three digits, which the others leave alone.
    ShortNumberSet leaves_alone;
  };

  static ShortNumberSet NumbersWithoutMatch(const Pattern& pattern);

  std::vector<Step> steps_;
};

}  // namespace baton
