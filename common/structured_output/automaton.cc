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
    if (budget_.ok()) FindProductive();
    if (!budget_.ok()) return budget_.status();
    if (!productive_[starts_[grammar_.root]]) {
      return absl::InvalidArgumentError("the constraint matches no text at all");
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

  // Nodes from which an end of their rule can be reached. Ends have mostly high numbers.
  void FindProductive() {
    productive_.assign(nodes_.size(), false);
    for (bool changed = true; changed && budget_.ok();) {
      changed = false;
      for (size_t i = nodes_.size(); i-- > 0;) {
        if (productive_[i] || !IsProductive(nodes_[i])) continue;
        productive_[i] = true;
        changed = true;
      }
      budget_.Work(2 * nodes_.size());
    }
  }

  bool IsProductive(const RuleNode& node) const {
    return node.accepts ||
           std::any_of(node.bytes.begin(), node.bytes.end(),
                       [this](const ByteEdge& edge) { return productive_[edge.target]; }) ||
           std::any_of(node.calls.begin(), node.calls.end(),
                       [this](const CallEdge& call) { return IsProductiveCall(call); });
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
        if (!nullable_[call.rule]) continue;
        if (std::find(seen.begin(), seen.end(), call.target) == seen.end()) {
          seen.push_back(call.target);
        }
      }
      if (!budget_.Work(seen.size())) return;
    }
  }

  void FindNullable() {
    nullable_.assign(starts_.size(), false);
    for (bool changed = true; changed && budget_.ok();) {
      changed = false;
      for (RuleId rule = 0; rule < starts_.size(); ++rule) {
        if (nullable_[rule] || starts_[rule] == kNotBuilt) continue;
        bool accepts = false;
        ForEachFirstNode(rule, [&](const RuleNode& node) { accepts = accepts || node.accepts; });
        nullable_[rule] = accepts;
        changed = changed || accepts;
      }
    }
  }

  // Depth-first over "calls before it has matched a byte", without recursion.
  absl::Status CheckLeftRecursion() {
    FindNullable();
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
  std::vector<bool> nullable_;    // by rule
};

}  // namespace

absl::StatusOr<Automaton> CompileGrammar(const Grammar& grammar) {
  if (!grammar.budget().ok()) return grammar.budget().status();
  absl::StatusOr<Automaton> compiled = GrammarCompiler(grammar).Compile();
  if (compiled.ok()) compiled->token_symbols = grammar.token_symbols();
  return compiled;
}

}  // namespace baton::structured
