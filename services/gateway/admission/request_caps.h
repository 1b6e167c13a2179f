// What one request may ask for at most, and the flags that say so.
#pragma once

#include <cstdint>
#include <string>

#include "absl/types/span.h"

namespace baton::gateway {

// Ceilings of one request; all inclusive.
struct RequestCaps {
  int64_t num_choices = 8;
  int64_t prompts = 64;     // of one completion request
  int64_t sequences = 128;  // prompts times choices
  int64_t num_top_logprobs = 20;
  // Log-probabilities of a prompt travel in one message of at most 8 MiB, where one takes up to 19
  // bytes.
  int64_t prompt_logprobs = 400'000;
  int64_t stop_strings = 4;
  int64_t stop_string_bytes = 256;
  int64_t stop_token_ids = 1024;
  int64_t logit_biases = 1024;
  int64_t allowed_token_ids = 1 << 16;
  int64_t bad_words = 128;
  int64_t bad_word_bytes = 256;
  int64_t messages = 2048;
  int64_t tools = 128;
  int64_t stream_interval = 1024;  // tokens of an event
  int64_t cache_salt_bytes = 256;
  int64_t request_id_bytes = 128;  // of the body's request_id
  int64_t user_bytes = 512;
  int64_t schema_bytes = 64 << 10;    // of a JSON schema that answers follow
  int64_t regex_bytes = 2 << 10;      // of a regular expression, and of a whitespace pattern
  int64_t grammar_bytes = 256 << 10;  // of a grammar, or of all choices
  int64_t json_depth = 64;            // of a body: arrays and objects inside one another
  int64_t json_keys = 4096;           // of one object
  int64_t json_values = 1 << 20;      // in all
};

// A ceiling, the flag that sets it, and what the flag may say: no more than `most`, which is what
// scheduler and stages take, or more than anybody needs.
struct RequestCap {
  int64_t RequestCaps::*member;
  const char* name;  // of the member
  const char* flag;  // "max-n"
  int64_t least;
  int64_t most;
  const char* bounds;  // what there are so many of at most, for API.md
};

// One for each member, in order.
absl::Span<const RequestCap> RequestCapRows();

// "--max-n" of &RequestCaps::num_choices.
std::string CapFlag(int64_t RequestCaps::*member);

}  // namespace baton::gateway
