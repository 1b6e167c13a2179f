// What a micro-batch asks of a stage, in the numbers that its time depends on.
#pragma once

#include <cstdint>

namespace baton::scheduler {

struct StepWork {
  uint64_t tokens = 0;  // computed
  // Positions of KV cache that rows of one token, or with guesses behind one, attend to: reading
  // them bounds the time.
  uint64_t decode_kv = 0;
  // Of rows of more tokens: positions of KV cache that are expanded, once per row, and pairs of a
  // token and a position that it attends to.
  uint64_t chunk_kv = 0;
  uint64_t chunk_pairs = 0;
  uint64_t sampled = 0;  // tokens whose next one is sampled

  // A row that computes the tokens [begin, begin + num_tokens) of a sequence.
  void Add(uint64_t begin, uint64_t num_tokens, bool sample) {
    tokens += num_tokens;
    sampled += sample ? 1 : 0;
    if (num_tokens == 1) {
      decode_kv += begin + 1;
    } else {
      chunk_kv += begin + num_tokens;
      chunk_pairs += num_tokens * begin + num_tokens * (num_tokens + 1) / 2;
    }
  }
  // A row of a known token and guesses behind it, each of which samples: they read the cache once.
  void AddVerified(uint64_t begin, uint64_t num_tokens) {
    tokens += num_tokens;
    sampled += num_tokens;
    decode_kv += begin + num_tokens;
  }
  // Guesses that such a row takes along, more than it had.
  void AddGuesses(uint64_t num_tokens) {
    tokens += num_tokens;
    sampled += num_tokens;
    decode_kv += num_tokens;
  }
  void Add(const StepWork& other) {
    tokens += other.tokens;
    decode_kv += other.decode_kv;
    chunk_kv += other.chunk_kv;
    chunk_pairs += other.chunk_pairs;
    sampled += other.sampled;
  }
  bool operator==(const StepWork&) const = default;
};

}  // namespace baton::scheduler
