// What an automaton may be in after some bytes: a set of (node, stack) pairs, made when it is first
// needed and remembered with its steps, so that a byte costs a look-up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

#include "common/structured_output/automaton.h"

namespace baton::structured {

using StateId = uint32_t;
using FrameId = uint32_t;

// Where a rule goes on when it has matched; frames below it are shared by all stacks.
struct Frame {
  NodeId node = 0;
  FrameId below = 0;
  uint32_t depth = 0;
};

// A node of a rule, and the stack on which that rule was called.
struct Configuration {
  NodeId node = 0;
  FrameId stack = 0;
};

// One caller at a time.
class PushdownStates final {
 public:
  static constexpr StateId kDead = 0;  // nothing can follow
  // The stack of the root rule.
  static constexpr FrameId kNoFrame = 0;
  // A stack of which nothing is known, for what holds on every stack.
  static constexpr FrameId kAnyFrame = 1;
  // Calls that would nest deeper are not made.
  static constexpr uint32_t kMaxDepth = 512;
  // A state of more pairs is dead: the grammar is too ambiguous.
  static constexpr size_t kMaxConfigurations = 1024;

  // The automaton must outlive this.
  explicit PushdownStates(const Automaton* automaton);

  StateId start() const { return start_; }
  StateId Step(StateId state, uint8_t byte) {
    const size_t slot = state * automaton_.num_classes + automaton_.byte_class[byte];
    const StateId next = steps_[slot];
    return next != kUnknown ? next : MakeStep(state, byte, slot);
  }

  // The root rule has matched: the text may end here.
  bool Accepts(StateId state) const { return states_[state].accepts; }
  // On kAnyFrame: a rule that was called on it has matched, what lies below goes on.
  bool Leaves(StateId state) const { return states_[state].leaves; }
  // The pairs that take a byte.
  absl::Span<const Configuration> configurations(StateId state) const {
    return absl::MakeConstSpan(pairs_).subspan(states_[state].begin, states_[state].size);
  }

  const Frame& frame(FrameId frame) const { return frames_[frame]; }

  // The state of one pair alone, without what its node accepts.
  StateId On(NodeId node, FrameId stack);
  // The state of what goes on at `frame` after a rule has matched; kDead on kNoFrame.
  StateId After(FrameId frame);

  // Everything that was made; grows with use. Past a bound that the caller chooses, make another.
  size_t bytes() const;

 private:
  static constexpr StateId kUnknown = UINT32_MAX;

  struct State {
    uint32_t begin = 0;  // of pairs_
    uint32_t size = 0;
    bool accepts = false;
    bool leaves = false;
  };

  StateId MakeStep(StateId state, uint8_t byte, size_t slot);
  // The edge of the node that alone takes the byte, and no other edge takes one of its bytes; null
  // if there is none.
  const ByteEdge* OnlyEdge(NodeId node, uint8_t byte) const;
  // Gathers a state: Begin, Add ..., End.
  void Begin();
  void Add(NodeId node, FrameId stack);
  StateId End();
  StateId NewState();  // of what was gathered
  FrameId Push(NodeId node, FrameId below);

  const Automaton& automaton_;
  std::vector<Frame> frames_;
  absl::flat_hash_map<uint64_t, FrameId> known_frames_;
  std::vector<State> states_;
  std::vector<Configuration> pairs_;
  std::vector<StateId> steps_;  // [states, classes]
  // Of one pair, where the text cannot end: nearly all.
  absl::flat_hash_map<uint64_t, StateId> known_single_states_;
  absl::flat_hash_map<std::vector<uint64_t>, StateId> known_states_;  // the others
  StateId start_ = kDead;

  // Of the state that is being gathered.
  std::vector<uint64_t> gathered_;
  absl::flat_hash_map<uint64_t, bool> seen_;
  bool accepts_ = false;
  bool leaves_ = false;
};

}  // namespace baton::structured
