#include "common/structured_output/rule_automaton.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace baton::structured {
namespace {

// A rule may become so many times larger by being made deterministic.
constexpr size_t kLargestGrowth = 4;
constexpr size_t kFreeNodes = 256;

using NodeSet = std::vector<NodeId>;  // ascending, each once

// As it comes from the expression: with edges that take no byte.
struct LooseNode {
  std::vector<NodeId> empties;
  std::vector<ByteEdge> bytes;
  std::vector<CallEdge> calls;
};

class RuleBuilder {
 public:
  explicit RuleBuilder(const Grammar& grammar) : grammar_(grammar), budget_(grammar.budget()) {}

  std::vector<RuleNode> Build(ExprId body) {
    start_ = NewNode();
    end_ = NewNode();
    Connect(body, start_, end_);
    if (!budget_.ok()) return {};
    std::vector<RuleNode> nodes = Determinize();
    if (nodes.empty() && budget_.ok()) nodes = WithoutEmpties();
    return nodes;
  }

 private:
  NodeId NewNode() {
    budget_.AddNodes(1);
    loose_.emplace_back();
    return static_cast<NodeId>(loose_.size() - 1);
  }

  // Only adds edges out of `from` and into `to`, so that neighbours may share both.
  void Connect(ExprId id, NodeId from, NodeId to) {
    if (!budget_.Work(1)) return;
    const Expr& expr = grammar_.expr(id);
    switch (expr.kind) {
      case ExprKind::kNothing:
        return;
      case ExprKind::kEmpty:
        loose_[from].empties.push_back(to);
        return;
      case ExprKind::kByte:
        loose_[from].bytes.push_back({expr.low, expr.high, to});
        return;
      case ExprKind::kCall:
        loose_[from].calls.push_back({expr.rule, to});
        return;
      case ExprKind::kConcat:
        for (size_t i = 0; i < expr.parts.size(); ++i) {
          const NodeId next = i + 1 == expr.parts.size() ? to : NewNode();
          Connect(expr.parts[i], from, next);
          from = next;
        }
        return;
      case ExprKind::kAlternate:
        for (const ExprId part : expr.parts) Connect(part, from, to);
        return;
      case ExprKind::kRepeat:
        return ConnectRepeat(expr, from, to);
    }
  }

  void ConnectRepeat(const Expr& expr, NodeId from, NodeId to) {
    const ExprId part = expr.parts.front();
    for (uint32_t i = 0; i < expr.least && budget_.ok(); ++i) {
      const NodeId next = NewNode();
      Connect(part, from, next);
      from = next;
    }
    if (expr.most == kUnbounded) {
      const NodeId loop = NewNode();
      loose_[from].empties.push_back(loop);
      Connect(part, loop, loop);
      loose_[loop].empties.push_back(to);
      return;
    }
    for (uint32_t i = expr.least; i < expr.most && budget_.ok(); ++i) {
      loose_[from].empties.push_back(to);
      const NodeId next = NewNode();
      Connect(part, from, next);
      from = next;
    }
    loose_[from].empties.push_back(to);
  }

  NodeSet Close(NodeSet nodes) {
    std::vector<NodeId> pending = nodes;
    if (marks_.size() < loose_.size()) marks_.resize(loose_.size(), 0);
    ++mark_;
    for (const NodeId node : nodes) marks_[node] = mark_;
    while (!pending.empty() && budget_.Work(1)) {
      const NodeId node = pending.back();
      pending.pop_back();
      for (const NodeId next : loose_[node].empties) {
        if (std::exchange(marks_[next], mark_) == mark_) continue;
        nodes.push_back(next);
        pending.push_back(next);
      }
    }
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
    budget_.Work(2 * nodes.size());
    return nodes;
  }

  // Node of the closed set, made if it is new.
  NodeId NodeOf(NodeSet nodes, std::vector<RuleNode>* out) {
    NodeSet closed = Close(std::move(nodes));
    const auto [place, added] = known_.try_emplace(closed, static_cast<NodeId>(sets_.size()));
    if (added) {
      sets_.push_back(std::move(closed));
      out->emplace_back();
      budget_.AddNodes(1);
    }
    return place->second;
  }

  // Empty if it grows too large.
  std::vector<RuleNode> Determinize() {
    const size_t most = kFreeNodes + kLargestGrowth * loose_.size();
    std::vector<RuleNode> out;
    NodeOf({start_}, &out);
    for (NodeId id = 0; id < sets_.size() && budget_.ok(); ++id) {
      if (sets_.size() > most) return {};
      const NodeSet set = sets_[id];
      out[id].accepts = std::binary_search(set.begin(), set.end(), end_);
      // Neighbouring bytes with the same targets make one edge.
      std::map<int, NodeSet> opened, closed;
      std::map<RuleId, NodeSet> called;
      for (const NodeId node : set) {
        for (const ByteEdge& edge : loose_[node].bytes) {
          opened[edge.low].push_back(edge.target);
          closed[edge.high + 1].push_back(edge.target);
        }
        for (const CallEdge& call : loose_[node].calls) called[call.rule].push_back(call.target);
        budget_.Work(1 + 4 * loose_[node].bytes.size());
      }
      AddByteEdges(opened, closed, id, &out);
      for (auto& [rule, targets] : called) {
        const NodeId target = NodeOf(std::move(targets), &out);
        out[id].calls.push_back({rule, target});
      }
    }
    return out;
  }

  void AddByteEdges(const std::map<int, NodeSet>& opened, const std::map<int, NodeSet>& closed,
                    NodeId id, std::vector<RuleNode>* out) {
    std::vector<int> borders;
    for (const auto& [at, targets] : opened) borders.push_back(at);
    for (const auto& [at, targets] : closed) borders.push_back(at);
    std::sort(borders.begin(), borders.end());
    borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
    std::map<NodeId, int> live;  // targets, and by how many edges
    for (size_t i = 0; i + 1 < borders.size(); ++i) {
      if (const auto end = closed.find(borders[i]); end != closed.end()) {
        for (const NodeId target : end->second) {
          if (--live[target] == 0) live.erase(target);
        }
      }
      if (const auto begin = opened.find(borders[i]); begin != opened.end()) {
        for (const NodeId target : begin->second) ++live[target];
      }
      if (live.empty()) continue;
      NodeSet targets;
      for (const auto& [target, count] : live) targets.push_back(target);
      budget_.Work(4 * targets.size());
      const NodeId target = NodeOf(std::move(targets), out);
      std::vector<ByteEdge>& edges = (*out)[id].bytes;
      const auto low = static_cast<uint8_t>(borders[i]);
      const auto high = static_cast<uint8_t>(borders[i + 1] - 1);
      if (!edges.empty() && edges.back().target == target && edges.back().high + 1 == low) {
        edges.back().high = high;
      } else {
        edges.push_back({low, high, target});
      }
    }
  }

  std::vector<RuleNode> WithoutEmpties() {
    std::vector<RuleNode> out(loose_.size());
    for (NodeId id = 0; id < loose_.size() && budget_.ok(); ++id) {
      for (const NodeId node : Close({id})) {
        const LooseNode& loose = loose_[node];
        budget_.AddNodes((loose.bytes.size() + loose.calls.size()) / 4);
        out[id].accepts = out[id].accepts || node == end_;
        out[id].bytes.insert(out[id].bytes.end(), loose.bytes.begin(), loose.bytes.end());
        out[id].calls.insert(out[id].calls.end(), loose.calls.begin(), loose.calls.end());
      }
    }
    return out;
  }

  const Grammar& grammar_;
  CompileBudget& budget_;
  NodeId start_ = 0;
  NodeId end_ = 0;
  std::vector<LooseNode> loose_;
  std::vector<uint32_t> marks_;
  uint32_t mark_ = 0;
  std::vector<NodeSet> sets_;  // by node of the result
  absl::flat_hash_map<NodeSet, NodeId> known_;
};

// What both match.
std::vector<RuleNode> Product(const std::vector<RuleNode>& first,
                              const std::vector<RuleNode>& second, CompileBudget* budget) {
  std::vector<RuleNode> nodes;
  absl::flat_hash_map<std::pair<NodeId, NodeId>, NodeId> known;
  std::vector<std::pair<NodeId, NodeId>> pairs;
  const auto node_of = [&](NodeId one, NodeId other) {
    const auto [place, added] = known.try_emplace({one, other}, static_cast<NodeId>(pairs.size()));
    if (added) {
      budget->AddNodes(1);
      pairs.push_back({one, other});
      nodes.push_back({.accepts = first[one].accepts && second[other].accepts});
    }
    return place->second;
  };
  node_of(0, 0);
  for (NodeId id = 0; id < pairs.size() && budget->ok(); ++id) {
    const auto [one, other] = pairs[id];
    for (const ByteEdge& x : first[one].bytes) {
      for (const ByteEdge& y : second[other].bytes) {
        budget->Work(1);
        const uint8_t low = std::max(x.low, y.low);
        const uint8_t high = std::min(x.high, y.high);
        if (low > high) continue;
        const NodeId target = node_of(x.target, y.target);
        nodes[id].bytes.push_back({low, high, target});
      }
    }
  }
  return nodes;
}

}  // namespace

std::vector<RuleNode> BuildRule(const Grammar& grammar, ExprId body) {
  return RuleBuilder(grammar).Build(body);
}

ExprId Intersect(const std::vector<ExprId>& parts, Grammar* grammar) {
  CompileBudget& budget = grammar->budget();
  std::vector<RuleNode> nodes = BuildRule(*grammar, parts.front());
  for (size_t i = 1; i < parts.size() && budget.ok(); ++i) {
    const std::vector<RuleNode> other = BuildRule(*grammar, parts[i]);
    if (budget.ok()) nodes = Product(nodes, other, &budget);
  }
  if (!budget.ok()) return grammar->Nothing();
  const RuleId rule = grammar->AddRule("intersection");
  grammar->SetNodes(rule, std::make_shared<const std::vector<RuleNode>>(std::move(nodes)));
  return grammar->Call(rule);
}

}  // namespace baton::structured
