// tokenizer.json read into flat lists, with its limits and its shape checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton {

inline constexpr size_t kMaxTokenizerFileBytes = size_t{64} << 20;
inline constexpr uint32_t kMaxTokens = 1u << 20;  // ids are below it
inline constexpr size_t kMaxMerges = size_t{1} << 20;
inline constexpr size_t kMaxAddedTokenBytes = 1024;
inline constexpr size_t kMaxPatternBytes = size_t{64} << 10;

struct AddedTokenSpec {
  uint32_t id = 0;
  std::string content;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = false;   // looked for after all those that are not
  bool special = false;
};

enum class SplitBehavior {
  kIsolated,  // matches become pieces of their own
  kRemoved,   // matches are dropped
};

struct SplitSpec {
  std::string pattern;
  bool literal = false;  // the pattern is plain text
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // split by what does not match
};

// Texts are the file's, in the byte-level alphabet; they lie in one string, one after another.
struct VocabEntry {
  uint32_t begin = 0;
  uint32_t length = 0;  // bytes
  uint32_t id = 0;
};
struct MergeEntry {
  uint32_t begin = 0;
  uint32_t left_length = 0;  // bytes; the right part follows
  uint32_t right_length = 0;
};

struct TokenizerSpec {
  std::string text;
  std::vector<VocabEntry> vocab;
  std::vector<MergeEntry> merges;  // most important first
  bool ignore_merges = false;      // a word that is a token is that token
  std::vector<AddedTokenSpec> added_tokens;
  std::vector<SplitSpec> splits;
  std::vector<uint32_t> prefix;  // ids that the post-processor puts before a text
  std::vector<uint32_t> suffix;  // and after it
};

// Errors: InvalidArgument naming the part that is malformed, too large or not supported.
absl::StatusOr<TokenizerSpec> ParseTokenizerJson(absl::string_view json);

}  // namespace baton
