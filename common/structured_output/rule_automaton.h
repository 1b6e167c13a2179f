// One rule's body as a finite automaton over bytes and calls.
#pragma once

#include <cstdint>
#include <vector>

#include "common/structured_output/automaton.h"
#include "common/structured_output/expression.h"

namespace baton::structured {

struct RuleNode {
  std::vector<ByteEdge> bytes;
  std::vector<CallEdge> calls;
  bool accepts = false;
};

// Nodes of `body`, the first one is the start: deterministic unless that takes many more nodes than
// the body has. Nothing useful once the grammar's budget is exceeded.
std::vector<RuleNode> BuildRule(const Grammar& grammar, ExprId body);

// A call of a rule that matches what all parts match; none may contain calls. Nothing useful once
// the budget is exceeded.
ExprId Intersect(const std::vector<ExprId>& parts, Grammar* grammar);

}  // namespace baton::structured
