// Stop strings over a stream of text pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace baton::gateway {

// The automaton over all stop strings of a request, about 16 bytes per byte of stop string.
// Immutable; shared by all sequences of the request; any thread.
class StopAutomaton {
 public:
  struct Options {
    std::vector<std::string> stops;  // empty strings are ignored; none: text passes unchanged
    bool include_stop = false;       // the stop string itself belongs to the text
  };

  explicit StopAutomaton(const Options& options);

 private:
  friend class StopStringMatcher;

  // A state: the longest end of the text that begins a stop. Its transitions are a list of
  // children; where none fits, those of `shorter` are tried.
  struct State {
    uint32_t first_child = 0;   // 0: none, for nothing leads back to the root
    uint32_t next_sibling = 0;  // 0: none
    uint32_t shorter = 0;       // longest shorter end of the text that begins a stop
    uint16_t depth = 0;         // bytes of that end
    int8_t matched = -1;        // longest stop that ends here, index into stops_
    uint8_t byte = 0;           // that leads here
  };

  void AddStop(size_t index);
  void LinkStates();
  uint32_t Child(uint32_t state, uint8_t byte) const;
  uint32_t Next(uint32_t state, uint8_t byte) const;

  std::vector<std::string> stops_;
  bool include_stop_;
  std::vector<State> states_;
};

// Finds the stop string that is complete first as the text is read from the left; of several that
// end at the same byte the longest. The result does not depend on how the text is cut into pieces.
// Holds back the longest end of the text that may become a stop string, no more: with pieces of
// whole characters every returned text has whole characters. One per choice; not thread-safe.
class StopStringMatcher {
 public:
  // Null: text passes unchanged.
  explicit StopStringMatcher(std::shared_ptr<const StopAutomaton> automaton);

  // Text that is certain to go out. Once stopped() it is empty, and so is every later one. Unless
  // `may_stop` a stop string that is complete within the piece is text like any other; one that
  // only begins there counts.
  std::string Push(absl::string_view piece, bool may_stop = true);

  // The end of the text without a stop string: what was held back.
  std::string Flush();

  bool stopped() const { return matched_ >= 0; }
  // The stop string found; only when stopped(). Valid as long as the matcher.
  absl::string_view matched_stop() const;

 private:
  std::shared_ptr<const StopAutomaton> automaton_;  // null: no stops
  uint32_t state_ = 0;
  int matched_ = -1;
  std::string held_;
};

}  // namespace baton::gateway
