#include "common/structured_output/pushdown_states.h"

#include <algorithm>
#include <utility>

namespace baton::structured {
namespace {

uint64_t Key(NodeId node, FrameId stack) { return uint64_t{node} << 32 | stack; }

}  // namespace

PushdownStates::PushdownStates(const Automaton* automaton)
    : automaton_(*automaton), frames_(2), states_(1), steps_(automaton->num_classes, kDead) {
  Begin();
  Add(automaton_.rule_starts[automaton_.root], kNoFrame);
  start_ = End();
}

FrameId PushdownStates::Push(NodeId node, FrameId below) {
  const auto [place, added] =
      known_frames_.try_emplace(Key(node, below), static_cast<FrameId>(frames_.size()));
  if (added) frames_.push_back({node, below, frames_[below].depth + 1});
  return place->second;
}

void PushdownStates::Begin() {
  gathered_.clear();
  seen_.clear();
  accepts_ = leaves_ = false;
}

// With everything that follows without a byte. Ends, because no rule is left-recursive.
void PushdownStates::Add(NodeId first_node, FrameId first_stack) {
  std::vector<Configuration> pending = {{first_node, first_stack}};
  while (!pending.empty() && seen_.size() <= kMaxConfigurations) {
    const Configuration at = pending.back();
    pending.pop_back();
    if (!seen_.try_emplace(Key(at.node, at.stack), true).second) continue;
    const Automaton::Node& node = automaton_.nodes[at.node];
    if (node.bytes_begin != node.bytes_end) gathered_.push_back(Key(at.node, at.stack));
    if (node.accepts) {
      if (at.stack == kNoFrame) {
        accepts_ = true;
      } else if (at.stack == kAnyFrame) {
        leaves_ = true;
      } else {
        pending.push_back({frames_[at.stack].node, frames_[at.stack].below});
      }
    }
    for (uint32_t i = node.calls_begin; i < node.calls_end; ++i) {
      const CallEdge& call = automaton_.call_edges[i];
      // Nothing to come back to: the stack stays as it is.
      const bool is_last = automaton_.nodes[call.target].is_end();
      if (!is_last && frames_[at.stack].depth >= kMaxDepth) continue;
      pending.push_back(
          {automaton_.rule_starts[call.rule], is_last ? at.stack : Push(call.target, at.stack)});
    }
  }
}

StateId PushdownStates::End() {
  if (seen_.size() > kMaxConfigurations) return kDead;
  if (gathered_.empty() && !accepts_ && !leaves_) return kDead;
  const auto next = static_cast<StateId>(states_.size());
  if (gathered_.size() == 1 && !accepts_ && !leaves_) {
    const auto [place, added] = known_single_states_.try_emplace(gathered_.front(), next);
    return added ? NewState() : place->second;
  }
  std::sort(gathered_.begin(), gathered_.end());
  gathered_.push_back((accepts_ ? 1 : 0) | (leaves_ ? 2 : 0));
  const auto [place, added] = known_states_.try_emplace(gathered_, next);
  gathered_.pop_back();
  return added ? NewState() : place->second;
}

StateId PushdownStates::NewState() {
  states_.push_back({static_cast<uint32_t>(pairs_.size()), static_cast<uint32_t>(gathered_.size()),
                     accepts_, leaves_});
  for (const uint64_t pair : gathered_) {
    pairs_.push_back({static_cast<NodeId>(pair >> 32), static_cast<FrameId>(pair)});
  }
  steps_.resize(steps_.size() + automaton_.num_classes, kUnknown);
  return static_cast<StateId>(states_.size() - 1);
}

const ByteEdge* PushdownStates::OnlyEdge(NodeId node, uint8_t byte) const {
  const Automaton::Node& at = automaton_.nodes[node];
  const ByteEdge* found = nullptr;
  for (uint32_t i = at.bytes_begin; i < at.bytes_end && found == nullptr; ++i) {
    const ByteEdge& edge = automaton_.byte_edges[i];
    if (edge.low <= byte && byte <= edge.high) found = &edge;
  }
  for (uint32_t i = at.bytes_begin; i < at.bytes_end && found != nullptr; ++i) {
    const ByteEdge& edge = automaton_.byte_edges[i];
    if (&edge != found && edge.low <= found->high && found->low <= edge.high) found = nullptr;
  }
  return found;
}

StateId PushdownStates::MakeStep(StateId state, uint8_t byte, size_t slot) {
  if (states_[state].size == 1) {
    const Configuration at = pairs_[states_[state].begin];
    if (const ByteEdge* const edge = OnlyEdge(at.node, byte); edge != nullptr) {
      const Automaton::Node& target = automaton_.nodes[edge->target];
      Begin();
      if (target.accepts || target.calls_begin != target.calls_end) {
        Add(edge->target, at.stack);
      } else {
        gathered_.push_back(Key(edge->target, at.stack));  // nothing else follows from it
      }
      const StateId next = End();
      // At once for all classes of bytes that the edge takes.
      const size_t row = slot - automaton_.byte_class[byte];
      for (size_t i = automaton_.byte_class[edge->low]; i <= automaton_.byte_class[edge->high];
           ++i) {
        steps_[row + i] = next;
      }
      return next;
    }
  }
  Begin();
  for (uint32_t i = 0; i < states_[state].size; ++i) {
    const Configuration at = pairs_[states_[state].begin + i];
    const Automaton::Node& node = automaton_.nodes[at.node];
    for (uint32_t edge = node.bytes_begin; edge < node.bytes_end; ++edge) {
      const ByteEdge& by = automaton_.byte_edges[edge];
      if (by.low <= byte && byte <= by.high) Add(by.target, at.stack);
    }
  }
  const StateId next = End();
  steps_[slot] = next;
  return next;
}

StateId PushdownStates::On(NodeId node, FrameId stack) {
  Begin();
  gathered_.push_back(Key(node, stack));
  return End();
}

StateId PushdownStates::After(FrameId frame) {
  if (frame == kNoFrame) return kDead;
  Begin();
  Add(frames_[frame].node, frames_[frame].below);
  return End();
}

size_t PushdownStates::bytes() const {
  const size_t per_state = sizeof(State) + automaton_.num_classes * sizeof(StateId) + 64;
  return states_.size() * per_state + pairs_.size() * 24 + frames_.size() * (sizeof(Frame) + 32);
}

}  // namespace baton::structured
