// The prompts of a run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/tokenizer/tokenizer.h"
#include "tools/bench_serve/bench_options.h"

namespace baton::bench {

struct Prompt {
  std::vector<uint32_t> token_ids;  // empty if `text` is what is sent
  std::string text;
  uint32_t num_tokens = 0;  // 0: the server knows
  int64_t output_len = 0;
};

// `count` prompts; the same for the same seed. `tokenizer` may be null unless the options want
// text made of random tokens. Errors: NotFound (a data set that cannot be read),
// InvalidArgument (one that is not as it must be, no tokenizer).
absl::StatusOr<std::vector<Prompt>> MakePrompts(const PromptOptions& options,
                                                const Tokenizer* tokenizer, int64_t count,
                                                uint64_t seed);

}  // namespace baton::bench
