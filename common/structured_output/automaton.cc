#include "common/structured_output/automaton.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "common/structured_output/rule_automaton.h"

namespace baton::structured {
namespace {

class GrammarCompiler {
 public:
  explicit GrammarCompiler(const Grammar& grammar) : grammar_(grammar), budget_(grammar.budget()) {}

  absl::StatusOr<Automaton> Compile() {
    BuildRules();
    if (budget_.ok()) productive_ = ReachingEnd(/*over_bytes=*/true);
    if (!budget_.ok()) return budget_.status();
    if (!productive_[starts_[grammar_.root]]) {
      return absl::InvalidArgumentError("the constraint matches no text at all");
    }
    for (RuleId rule = 0; rule < starts_.size(); ++rule) {
      const Rule& source = grammar_.rules()[rule];
      if (!source.must_match || starts_[rule] == kNotBuilt || productive_[starts_[rule]]) continue;
      return absl::InvalidArgumentError(absl::StrCat(source.name, " matches no text at all"));
    }
    DropUseless();
    if (absl::Status status = CheckLeftRecursion(); !status.ok()) return status;
    return Freeze();
  }

 private:
  // Rules that the root can reach, into one table of nodes.
  void BuildRules() {
    const size_t num_rules = grammar_.rules().size();
    starts_.assign(num_rules, kNotBuilt);
    std::vector<RuleId> pending = {grammar_.root};
    while (!pending.empty() && budget_.ok()) {
      const RuleId rule = pending.back();
      pending.pop_back();
      if (starts_[rule] != kNotBuilt) continue;
      const Rule& source = grammar_.rules()[rule];
      std::vector<RuleNode> built =
          source.nodes != nullptr ? *source.nodes : BuildRule(grammar_, source.body);
      if (!budget_.ok()) return;
      const auto offset = static_cast<NodeId>(nodes_.size());
      starts_[rule] = offset;
      for (RuleNode& node : built) {
        for (ByteEdge& edge : node.bytes) edge.target += offset;
        for (CallEdge& call : node.calls) {
          call.target += offset;
          pending.push_back(call.rule);
        }
        nodes_.push_back(std::move(node));
      }
    }
  }

  // Calls `visit(needed, source, other)` for each edge out of `source` over which an end can be
  // reached if it can be from `needed` and from `other`.
  template <typename Visit>
  void ForEachNeed(bool over_bytes, const Visit& visit) const {
    for (NodeId source = 0; source < nodes_.size(); ++source) {
      if (over_bytes) {
        for (const ByteEdge& edge : nodes_[source].bytes) visit(edge.target, source, edge.target);
      }
      for (const CallEdge& call : nodes_[source].calls) {
        const NodeId start = starts_[call.rule];
        visit(call.target, source, start);
        visit(start, source, call.target);
      }
    }
  }

  // Nodes from which an end of their rule can be reached, or can be without a byte. Each edge is
  // looked at once: what rules cost that do not call each other adds up.
  std::vector<bool> ReachingEnd(bool over_bytes) {
    struct Need {
      NodeId source = 0;
      NodeId other = 0;
    };
    std::vector<size_t> ends(nodes_.size() + 1, 0);  // of the needs of each node, in one list
    ForEachNeed(over_bytes, [&](NodeId needed, NodeId, NodeId) { ++ends[needed]; });
    size_t num_needs = 0;
    for (size_t& end : ends) end = std::exchange(num_needs, num_needs + end);
    if (!budget_.Work(2 * (nodes_.size() + num_needs))) return {};
    std::vector<Need> needs(num_needs);
    ForEachNeed(over_bytes, [&](NodeId needed, NodeId source, NodeId other) {
      needs[ends[needed]++] = {source, other};
    });
    std::vector<bool> reaching(nodes_.size(), false);
    std::vector<NodeId> pending;
    const auto mark = [&](NodeId node) {
      if (reaching[node]) return;
      reaching[node] = true;
      pending.push_back(node);
    };
    for (NodeId node = 0; node < nodes_.size(); ++node) {
      if (nodes_[node].accepts) mark(node);
    }
    while (!pending.empty()) {
      const NodeId node = pending.back();
      pending.pop_back();
      for (size_t i = node == 0 ? 0 : ends[node - 1]; i < ends[node]; ++i) {
        if (reaching[needs[i].other]) mark(needs[i].source);
      }
    }
    return reaching;
  }

  bool IsProductiveCall(const CallEdge& call) const {
    return productive_[call.target] && productive_[starts_[call.rule]];
  }

  void DropUseless() {
    for (RuleNode& node : nodes_) {
      std::erase_if(node.bytes, [this](const ByteEdge& edge) { return !productive_[edge.target]; });
      std::erase_if(node.calls, [this](const CallEdge& call) { return !IsProductiveCall(call); });
    }
  }

  // Calls `visit` for every node of the rule that is reached before a byte is matched.
  template <typename Visit>
  void ForEachFirstNode(RuleId rule, const Visit& visit) const {
    std::vector<NodeId> seen = {starts_[rule]};
    for (size_t i = 0; i < seen.size(); ++i) {
      visit(nodes_[seen[i]]);
      for (const CallEdge& call : nodes_[seen[i]].calls) {
        if (!nullable_[starts_[call.rule]]) continue;
        if (std::find(seen.begin(), seen.end(), call.target) == seen.end()) {
          seen.push_back(call.target);
        }
      }
      if (!budget_.Work(seen.size())) return;
    }
  }

  // Depth-first over "calls before it has matched a byte", without recursion.
  absl::Status CheckLeftRecursion() {
    nullable_ = ReachingEnd(/*over_bytes=*/false);
    std::vector<std::vector<RuleId>> firsts(starts_.size());
    for (RuleId rule = 0; rule < starts_.size() && budget_.ok(); ++rule) {
      if (starts_[rule] == kNotBuilt) continue;
      ForEachFirstNode(rule, [&](const RuleNode& node) {
        for (const CallEdge& call : node.calls) firsts[rule].push_back(call.rule);
      });
    }
    if (!budget_.ok()) return budget_.status();
    enum class Mark : uint8_t { kNew, kOpen, kDone };
    std::vector<Mark> marks(starts_.size(), Mark::kNew);
    for (RuleId rule = 0; rule < starts_.size(); ++rule) {
      if (starts_[rule] == kNotBuilt || marks[rule] != Mark::kNew) continue;
      std::vector<std::pair<RuleId, size_t>> path = {{rule, 0}};
      marks[rule] = Mark::kOpen;
      while (!path.empty()) {
        auto& [at, next] = path.back();
        if (next == firsts[at].size()) {
          marks[at] = Mark::kDone;
          path.pop_back();
          continue;
        }
        const RuleId called = firsts[at][next++];
        if (marks[called] == Mark::kOpen) return LeftRecursion(path, called);
        if (marks[called] == Mark::kDone) continue;
        marks[called] = Mark::kOpen;
        path.push_back({called, 0});
      }
    }
    return absl::OkStatus();
  }

  absl::Status LeftRecursion(const std::vector<std::pair<RuleId, size_t>>& path,
                             RuleId called) const {
    std::vector<std::string> names;
    bool in_cycle = false;
    for (const auto& [rule, next] : path) {
      in_cycle = in_cycle || rule == called;
      if (in_cycle && names.size() < 8) names.push_back(grammar_.rules()[rule].name);
    }
    names.push_back(grammar_.rules()[called].name);
    return absl::InvalidArgumentError(
        absl::StrCat("left recursion is not supported: ", absl::StrJoin(names, " -> "),
                     " calls itself before it has matched anything"));
  }

  absl::StatusOr<Automaton> Freeze() {
    Automaton out;
    out.root = grammar_.root;
    out.rule_starts.assign(starts_.begin(), starts_.end());
    std::vector<bool> border(257, false);
    for (const RuleNode& node : nodes_) {
      Automaton::Node frozen;
      frozen.accepts = node.accepts;
      frozen.bytes_begin = static_cast<uint32_t>(out.byte_edges.size());
      frozen.calls_begin = static_cast<uint32_t>(out.call_edges.size());
      out.byte_edges.insert(out.byte_edges.end(), node.bytes.begin(), node.bytes.end());
      out.call_edges.insert(out.call_edges.end(), node.calls.begin(), node.calls.end());
      frozen.bytes_end = static_cast<uint32_t>(out.byte_edges.size());
      frozen.calls_end = static_cast<uint32_t>(out.call_edges.size());
      out.nodes.push_back(frozen);
      for (const ByteEdge& edge : node.bytes) {
        border[edge.low] = true;
        border[edge.high + 1] = true;
      }
    }
    size_t byte_class = 0;
    for (size_t byte = 0; byte < 256; ++byte) {
      if (byte > 0 && border[byte]) ++byte_class;
      out.byte_class[byte] = static_cast<uint8_t>(byte_class);
    }
    out.num_classes = byte_class + 1;
    return out;
  }

  static constexpr NodeId kNotBuilt = UINT32_MAX;

  const Grammar& grammar_;
  CompileBudget& budget_;
  std::vector<NodeId> starts_;  // by rule
  std::vector<RuleNode> nodes_;
  std::vector<bool> productive_;  // by node
  std::vector<bool> nullable_;    // by node: its rule may match no more bytes
};

}  // namespace

absl::StatusOr<Automaton> CompileGrammar(const Grammar& grammar) {
  if (!grammar.budget().ok()) return grammar.budget().status();
  absl::StatusOr<Automaton> compiled = GrammarCompiler(grammar).Compile();
  if (compiled.ok()) compiled->token_symbols = grammar.token_symbols();
  return compiled;
}

}  // namespace baton::structured
