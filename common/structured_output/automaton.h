// A compiled grammar: one automaton per rule over bytes and calls of rules. What it may be in after
// some bytes is computed by PushdownStates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/structured_output/expression.h"

namespace baton::structured {

using NodeId = uint32_t;

struct ByteEdge {
  uint8_t low = 0;  // inclusive
  uint8_t high = 0;
  NodeId target = 0;
};

// From a node into `rule`, and on at `target` when that has matched.
struct CallEdge {
  RuleId rule = 0;
  NodeId target = 0;
};

// Immutable. From every node that can be reached, an end of its rule can be reached.
struct Automaton {
  struct Node {
    uint32_t bytes_begin = 0;
    uint32_t bytes_end = 0;
    uint32_t calls_begin = 0;
    uint32_t calls_end = 0;
    bool accepts = false;  // its rule has matched

    bool is_end() const { return accepts && bytes_begin == bytes_end && calls_begin == calls_end; }
  };

  std::vector<Node> nodes;
  std::vector<ByteEdge> byte_edges;  // of a node: ascending where its rule is deterministic
  std::vector<CallEdge> call_edges;
  std::vector<NodeId> rule_starts;
  RuleId root = 0;
  // Bytes that no edge tells apart have the same class; there are num_classes of them.
  uint8_t byte_class[256] = {};
  size_t num_classes = 1;
  // Tokens that stand for no text, by symbol: see expression.h.
  std::vector<uint32_t> token_symbols;

  size_t bytes() const {
    return nodes.capacity() * sizeof(Node) + byte_edges.capacity() * sizeof(ByteEdge) +
           call_edges.capacity() * sizeof(CallEdge) + rule_starts.capacity() * sizeof(NodeId);
  }
};

// Errors: InvalidArgument, when a limit of the grammar's budget is exceeded, when no string
// matches, and for rules that call themselves without having matched a byte (left recursion).
absl::StatusOr<Automaton> CompileGrammar(const Grammar& grammar);

}  // namespace baton::structured
