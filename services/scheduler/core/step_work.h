// What a micro-batch asks of a stage, in the numbers that its time depends on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace baton::scheduler {

struct StepWork {
  uint64_t tokens = 0;  // computed
  // Positions of KV cache that rows of one token, or with guesses behind one, attend to: reading
  // them bounds the time.
  uint64_t decode_kv = 0;
  // Of rows of more tokens: positions of KV cache that are expanded, once per row however many
  // tokens it has, and pairs of a token and a position that it attends to.
  uint64_t chunk_kv = 0;
  uint64_t chunk_pairs = 0;
  uint64_t sampled = 0;  // tokens whose next one is sampled
  // Where the stages expand prompts: such pairs of tokens of longer rows that are not expanded.
  uint64_t absorbed_pairs = 0;

  // A row that computes the tokens [begin, begin + num_tokens) of a sequence, of which the stages
  // expand those below `num_expanded` (see Sequence); nullopt: they have one form for all.
  void Add(uint64_t begin, uint64_t num_tokens, bool sample,
           std::optional<uint64_t> num_expanded = std::nullopt) {
    tokens += num_tokens;
    sampled += sample ? 1 : 0;
    const uint64_t end = begin + num_tokens;
    const uint64_t one_form = num_tokens == 1 ? begin : end;
    const uint64_t middle = std::clamp(num_expanded.value_or(one_form), begin, end);
    if (middle > begin) {
      chunk_kv += middle;
      chunk_pairs += Pairs(begin, middle);
    }
    if (end - middle == 1) {
      decode_kv += end;
    } else {
      absorbed_pairs += Pairs(middle, end);
    }
  }
  // The rows of a prompt's tokens up to its last one, which samples, in chunks of `chunk_tokens`:
  // each pays for the positions before it.
  void AddChunks(uint64_t begin, uint64_t num_tokens, uint64_t chunk_tokens,
                 std::optional<uint64_t> num_expanded = std::nullopt) {
    Add(begin, num_tokens, true, num_expanded);
    const uint64_t end = begin + num_tokens;
    const uint64_t middle = std::clamp(num_expanded.value_or(end), begin, end);
    if (middle == begin) return;
    // Of those with such tokens, all but the last, which is counted.
    const uint64_t count = (middle - begin - 1) / chunk_tokens;
    chunk_kv += count * begin + chunk_tokens * (count * (count + 1) / 2);
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
    absorbed_pairs += other.absorbed_pairs;
  }
  bool operator==(const StepWork&) const = default;

 private:
  static uint64_t Pairs(uint64_t begin, uint64_t end) {
    const uint64_t count = end - begin;
    return count * begin + count * (count + 1) / 2;
  }
};

}  // namespace baton::scheduler
