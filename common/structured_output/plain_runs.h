// How much plain text (plain_tokens.h) may follow, whichever it is.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

#include "common/structured_output/automaton.h"
#include "common/structured_output/pushdown_states.h"

namespace baton::structured {

// One caller at a time.
class PlainRuns final {
 public:
  struct Run {
    // Every plain text of at most so many characters may follow.
    size_t characters = 0;
    // And none of more characters, nor is the rule left before.
    bool is_exact = false;
  };

  // `most_characters`: nobody wants to know of longer texts. The automaton must outlive this.
  PlainRuns(const Automaton* automaton, size_t most_characters)
      : automaton_(*automaton), most_characters_(most_characters) {}

  // From the node, which takes a byte next, on a stack of which nothing is known.
  Run FromNode(NodeId node);
  // The same on this stack of `states`; only how many characters, and perhaps fewer than there
  // may be.
  size_t OnStack(const Configuration& at, const PushdownStates& states);

  // Grows with use.
  size_t bytes() const { return next_.size() * 24; }

 private:
  // Instead of a node: no plain character leads on; or not all to the same node.
  static constexpr NodeId kNone = UINT32_MAX;
  static constexpr NodeId kSeveral = UINT32_MAX - 1;
  static bool IsNode(NodeId node) { return node < kSeveral; }

  struct ByteRange {
    uint8_t low = 0;  // inclusive
    uint8_t high = 0;
  };
  // Plain characters: one of each range.
  using Spelling = absl::Span<const ByteRange>;

  // Where all plain characters lead by the node's bytes, of which it takes one at once.
  NodeId NextByBytes(NodeId node);
  // The same by its bytes or by a call of a rule of one character, if it has nothing else.
  NodeId Next(NodeId node);
  NodeId Follow(NodeId node, Spelling spelling) const;
  static NodeId Meet(NodeId one, NodeId other) { return one == other ? one : kSeveral; }
  bool TakesBytesAlone(NodeId node) const {
    const Automaton::Node& at = automaton_.nodes[node];
    return !at.accepts && at.calls_begin == at.calls_end;
  }

  const Automaton& automaton_;
  const size_t most_characters_;
  absl::flat_hash_map<NodeId, NodeId> next_;  // NextByBytes, as far as it was asked for
};

}  // namespace baton::structured
