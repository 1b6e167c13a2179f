// Tokens of one sequence to text as they come, in whole characters.
#pragma once

#include <cstdint>
#include <string>

#include "absl/types/span.h"

#include "common/tokenizer/tokenizer.h"

namespace baton {

// All texts returned, put together, are Tokenizer::Decode of all ids; each alone is valid UTF-8.
// One per sequence; not thread-safe.
class IncrementalDetokenizer {
 public:
  struct Options {
    bool skip_special_tokens = true;
  };

  // `tokenizer` must outlive this.
  IncrementalDetokenizer(const Tokenizer& tokenizer, const Options& options)
      : tokenizer_(tokenizer), options_(options) {}

  // Text that became certain with `ids`: up to three bytes of an unfinished character stay back.
  std::string Push(absl::Span<const uint32_t> ids);
  std::string Push(uint32_t id) { return Push(absl::MakeConstSpan(&id, 1)); }

  // The end of the sequence: an unfinished character becomes U+FFFD. The next Push starts afresh.
  std::string Flush();

  // Whether bytes are held back.
  bool pending() const { return !pending_.empty(); }

 private:
  const Tokenizer& tokenizer_;
  const Options options_;
  std::string pending_;  // a proper prefix of one character
};

}  // namespace baton
