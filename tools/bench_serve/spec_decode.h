// What a server says of its speculative decoding, as `vllm bench serve` reads it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"

namespace baton::bench {

// Counters `vllm:spec_decode_*` since the server's start, over all their labels but "position".
struct SpecDecodeCounts {
  int64_t num_drafts = 0;
  int64_t num_draft_tokens = 0;
  int64_t num_accepted_tokens = 0;
  std::map<int64_t, int64_t> accepted_by_position;

  bool operator==(const SpecDecodeCounts&) const = default;
};

struct SpecDecodeFigures {
  double acceptance_rate = 0;    // percent of the draft tokens
  double acceptance_length = 0;  // tokens that a draft gives, with the one that is no guess
  int64_t num_drafts = 0;
  int64_t num_draft_tokens = 0;
  int64_t num_accepted_tokens = 0;
  std::vector<double> rate_by_position;  // part of the drafts, 0 to 1
};

// From the text of /metrics; nothing if it has no such counter.
std::optional<SpecDecodeCounts> ReadSpecDecodeCounts(absl::string_view metrics);

// What `read` says when it says the same twice, with a `pause` in between: a server may count
// behind its answers. Gives up on one that goes on counting and returns its last word. Nothing, at
// once, if `read` returns nothing.
std::optional<SpecDecodeCounts> ReadSettledCounts(
    const std::function<std::optional<SpecDecodeCounts>()>& read,
    const std::function<void()>& pause);

// Of the time between two readings; nothing if no tokens were drafted in it.
std::optional<SpecDecodeFigures> SpecDecodeBetween(const std::optional<SpecDecodeCounts>& before,
                                                   const std::optional<SpecDecodeCounts>& after);

}  // namespace baton::bench
