// Random token ids, and random text of a given number of tokens.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/tokenizer/tokenizer.h"

namespace baton::bench {

class RandomTokens final {
 public:
  // Without a tokenizer (null) ids are below `vocab_size`. It must outlive this.
  RandomTokens(const Tokenizer* tokenizer, int64_t vocab_size, uint64_t seed);

  // From [least, most].
  int64_t Number(int64_t least, int64_t most);
  // No special tokens.
  std::vector<uint32_t> Ids(int64_t count);
  // Makes `ids` what the tokenizer gives for their text, of the same number if it can be reached in
  // a few tries, and returns that text. Needs a tokenizer.
  absl::StatusOr<std::string> Settle(std::vector<uint32_t>* ids);

 private:
  const Tokenizer* const tokenizer_;
  std::vector<uint32_t> allowed_;
  std::mt19937_64 random_;
};

}  // namespace baton::bench
