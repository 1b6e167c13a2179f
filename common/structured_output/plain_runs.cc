#include "common/structured_output/plain_runs.h"

#include <iterator>

namespace baton::structured {

// The node that all characters of the spelling lead to. Bytes of it that the node does not take
// lead to kNone.
NodeId PlainRuns::Follow(NodeId node, Spelling spelling) const {
  if (spelling.empty()) return node;
  const auto [low, high] = spelling.front();
  const Automaton::Node& at = automaton_.nodes[node];
  int begin = low;  // bytes before it are done
  NodeId found = kNone;
  bool is_first = true;
  const auto add = [&](NodeId target) {
    found = is_first ? target : Meet(found, target);
    is_first = false;
  };
  for (uint32_t i = at.bytes_begin; i < at.bytes_end; ++i) {
    const ByteEdge& edge = automaton_.byte_edges[i];
    // The rule is not deterministic.
    if (i > at.bytes_begin && edge.low <= automaton_.byte_edges[i - 1].high) return kSeveral;
    if (edge.high < begin || edge.low > high) continue;
    if (edge.low > begin) add(kNone);
    const Spelling rest = spelling.subspan(1);
    add(rest.empty() || TakesBytesAlone(edge.target) ? Follow(edge.target, rest) : kSeveral);
    if (found == kSeveral) return kSeveral;
    begin = edge.high + 1;
  }
  if (begin <= high) add(kNone);
  return found;
}

NodeId PlainRuns::NextByBytes(NodeId node) {
  // The Unicode Standard 15, table 3-7, less `"`, `\` and control characters.
  static constexpr ByteRange kSpellings[][4] = {
      {{0x20, 0x21}},
      {{0x23, 0x5B}},
      {{0x5D, 0x7F}},
      {{0xC2, 0xDF}, {0x80, 0xBF}},
      {{0xE0, 0xE0}, {0xA0, 0xBF}, {0x80, 0xBF}},
      {{0xE1, 0xEC}, {0x80, 0xBF}, {0x80, 0xBF}},
      {{0xED, 0xED}, {0x80, 0x9F}, {0x80, 0xBF}},
      {{0xEE, 0xEF}, {0x80, 0xBF}, {0x80, 0xBF}},
      {{0xF0, 0xF0}, {0x90, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}},
      {{0xF1, 0xF3}, {0x80, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}},
      {{0xF4, 0xF4}, {0x80, 0x8F}, {0x80, 0xBF}, {0x80, 0xBF}}};
  const auto [place, added] = next_.try_emplace(node, kSeveral);
  if (!added) return place->second;
  NodeId found = kNone;
  for (size_t i = 0; i < std::size(kSpellings) && found != kSeveral; ++i) {
    const size_t num_bytes = i < 3 ? 1 : i < 4 ? 2 : i < 8 ? 3 : 4;
    const NodeId target = Follow(node, absl::MakeConstSpan(kSpellings[i]).first(num_bytes));
    found = i == 0 ? target : Meet(found, target);
  }
  place->second = found;
  return found;
}

NodeId PlainRuns::Next(NodeId node) {
  const Automaton::Node& at = automaton_.nodes[node];
  if (at.calls_begin == at.calls_end) return NextByBytes(node);
  if (at.calls_end - at.calls_begin > 1 || at.bytes_begin != at.bytes_end) return kSeveral;
  const CallEdge& call = automaton_.call_edges[at.calls_begin];
  const NodeId start = automaton_.rule_starts[call.rule];
  if (!TakesBytesAlone(start)) return kSeveral;
  const NodeId end = NextByBytes(start);
  return IsNode(end) && automaton_.nodes[end].is_end() ? call.target : kSeveral;
}

PlainRuns::Run PlainRuns::FromNode(NodeId node) {
  Run run{.is_exact = true};
  // What the first node accepts or calls is not its own: see PushdownStates::On.
  for (NodeId next = NextByBytes(node); run.characters < most_characters_;) {
    if (!IsNode(next)) {
      run.is_exact = run.is_exact && next == kNone;
      return run;
    }
    ++run.characters;
    run.is_exact = run.is_exact && TakesBytesAlone(next);
    const NodeId after = Next(next);
    if (after == next) run.characters = most_characters_;
    next = after;
  }
  return run;
}

size_t PlainRuns::OnStack(const Configuration& at, const PushdownStates& states) {
  size_t characters = 0;
  FrameId stack = at.stack;
  NodeId node = at.node;
  for (NodeId next = NextByBytes(node); characters < most_characters_;) {
    if (IsNode(next)) {
      ++characters;
      if (next == node) return most_characters_;
      node = next;
    } else if (characters > 0 && automaton_.nodes[node].is_end() &&
               stack != PushdownStates::kNoFrame && stack != PushdownStates::kAnyFrame) {
      node = states.frame(stack).node;
      stack = states.frame(stack).below;
    } else {
      break;
    }
    next = Next(node);
  }
  return characters;
}

}  // namespace baton::structured
