// Prompts out of a file of conversations, as the sharegpt data set of `vllm bench serve`.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

#include "common/tokenizer/tokenizer.h"
#include "tools/bench_serve/bench_options.h"
#include "tools/bench_serve/prompts.h"

namespace baton::bench {

// `count` prompts from the JSON array at `options.path`, whose elements have "conversations", a
// list of objects with "value". Of each that has two turns or more the first turn is the prompt and
// the second says how long the answer is, unless the options do. Left out, as vLLM does: prompts of
// fewer than 4 tokens or more than 1024, answers of fewer than 4 (if it is the file that says how
// long), both together of more than 2048. In an order drawn with `seed`; a short file is used again
// from its begin. Errors: NotFound (no such file), InvalidArgument (not such an array, nothing is
// left, no `tokenizer`).
absl::StatusOr<std::vector<Prompt>> ReadShareGpt(const PromptOptions& options,
                                                 const Tokenizer* tokenizer, int64_t count,
                                                 uint64_t seed);

}  // namespace baton::bench
