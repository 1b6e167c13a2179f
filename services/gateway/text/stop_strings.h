// Stop strings over a stream of text pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace baton::gateway {

// Finds the stop string that is complete first as the text is read from the left; of several that
// end at the same byte the longest. The result does not depend on how the text is cut into pieces.
// Holds back the longest end of the text that may become a stop string, no more: with pieces of
// whole characters every returned text has whole characters. One per choice; not thread-safe.
class StopStringMatcher {
 public:
  struct Options {
    std::vector<std::string> stops;  // empty strings are ignored; none: text passes unchanged
    bool include_stop = false;       // the stop string itself belongs to the text
  };

  explicit StopStringMatcher(const Options& options);

  // Text that is certain to go out. Once stopped() it is empty, and so is every later one.
  std::string Push(absl::string_view piece);

  // The end of the text without a stop string: what was held back.
  std::string Flush();

  bool stopped() const { return matched_ >= 0; }
  // The stop string found; only when stopped(). Valid as long as the matcher.
  absl::string_view matched_stop() const;

 private:
  // A state of the automaton over all stops: the longest end of the text that begins a stop.
  struct State {
    std::vector<uint32_t> next;  // 256 transitions
    uint32_t depth = 0;          // bytes of that end
    int matched = -1;            // longest stop that ends here, index into stops_
  };

  void AddTrie();
  void LinkStates();

  std::vector<std::string> stops_;
  bool include_stop_;
  std::vector<State> states_;
  uint32_t state_ = 0;
  int matched_ = -1;
  std::string held_;
};

}  // namespace baton::gateway
