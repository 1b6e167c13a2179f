// Byte-pair encoding of one word.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/tokenizer/tokenizer_json.h"
#include "common/tokenizer/vocabulary.h"

namespace baton {

// Starts from one token per byte and applies, again and again, the most important merge that is
// possible, the leftmost of equals first. Thread-safe.
class BytePairMerger {
 public:
  // `vocabulary` must outlive the merger. Errors: InvalidArgument for a merge whose parts or result
  // the vocabulary lacks.
  static absl::StatusOr<std::unique_ptr<BytePairMerger>> Create(const TokenizerSpec& spec,
                                                                const Vocabulary& vocabulary);

  // Appends the tokens of `word`, which is any bytes. n log n in the length of the word.
  void Encode(absl::string_view word, std::vector<uint32_t>* ids) const;

 private:
  struct Merge {
    uint32_t rank = 0;  // 0 is the most important
    uint32_t id = 0;    // of the result
  };
  class LongWord;

  // Whether a token's bytes, as a word, come out as that token: found out on first use.
  enum class Whole : uint8_t { kUnknown, kYes, kNo };

  explicit BytePairMerger(const Vocabulary& vocabulary);

  static uint64_t PairKey(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }
  const Merge* FindMerge(uint32_t left, uint32_t right) const;
  void MergeWord(absl::string_view word, std::vector<uint32_t>* ids) const;
  void MergeShortWord(absl::string_view word, std::vector<uint32_t>* ids) const;

  const Vocabulary& vocabulary_;
  bool ignore_merges_ = false;
  absl::flat_hash_map<uint64_t, Merge> merges_;
  mutable std::vector<std::atomic<Whole>> whole_;  // by id: the cache, bounded by the vocabulary
};

}  // namespace baton
