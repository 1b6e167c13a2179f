#include "common/structured_output/token_masks.h"

#include <algorithm>
#include <utility>

#include "common/structured_output/expression.h"

namespace baton::structured {
namespace {

// A state of more pairs is walked as a whole.
constexpr size_t kMostNodes = 6;
// So is one with a deeper stack: what a node allows on any stack may nest too deep on this one.
// Tokens may make as many calls again.
constexpr uint32_t kMostDepth = PushdownStates::kMaxDepth / 2;

}  // namespace

TokenMasks::TokenMasks(const VocabularyTrie* vocabulary, absl::Span<const uint32_t> end_tokens,
                       const Automaton* automaton, PushdownStates* states, MaskCache* cache)
    : vocabulary_(*vocabulary),
      end_tokens_(end_tokens.begin(), end_tokens.end()),
      token_symbols_(automaton->token_symbols),
      states_(*states),
      cache_(*cache),
      plain_runs_(automaton, vocabulary->plain_tokens().most_characters()),
      node_owner_(cache->NewOwner()),
      state_owner_(cache->NewOwner()),
      path_(vocabulary->max_depth() + 1) {}

void TokenMasks::AllowSymbols(StateId state, TokenMask* mask) {
  for (size_t i = 0; i < token_symbols_.size(); ++i) {
    const auto symbol = static_cast<uint8_t>(kFirstTokenSymbol + i);
    if (token_symbols_[i] < vocabulary_.vocab_size() &&
        vocabulary_.bytes_of(token_symbols_[i]).empty() &&
        states_.Step(state, symbol) != PushdownStates::kDead) {
      AllowToken(token_symbols_[i], mask);
    }
  }
}

void TokenMasks::Walk(uint32_t begin, uint32_t end, StateId state, size_t most_passed,
                      MaskCache::Entry* entry) {
  if (begin == end || state == PushdownStates::kDead) return;
  const VocabularyTrie::Node* const nodes = vocabulary_.nodes().data();
  const uint32_t* const tokens = vocabulary_.tokens().data();
  StateId* const path = path_.data();
  path[nodes[begin].depth - 1] = state;
  for (uint32_t i = begin; i < end;) {
    const VocabularyTrie::Node& node = nodes[i];
    if (node.most_characters <= most_passed) {
      i = node.end;
      continue;
    }
    const StateId next = states_.Step(path[node.depth - 1], node.byte);
    if (next == PushdownStates::kDead) {
      i = node.end;
      continue;
    }
    path[node.depth] = next;
    for (uint32_t token = node.token_begin; token < node.token_end; ++token) {
      AllowToken(tokens[token], &entry->mask);
    }
    if (states_.Leaves(next) && node.end > i + 1) entry->leaving_nodes.push_back(i);
    ++i;
  }
}

void TokenMasks::WalkAll(StateId state, PlainRuns::Run run, MaskCache::Entry* entry) {
  vocabulary_.plain_tokens().Allow(run.characters, &entry->mask);
  const uint32_t begin = run.is_exact ? vocabulary_.other_nodes_begin() : 0;
  Walk(begin, static_cast<uint32_t>(vocabulary_.nodes().size()), state, run.characters, entry);
}

std::shared_ptr<const MaskCache::Entry> TokenMasks::OfNode(NodeId node) {
  const MaskCache::Key key = {node_owner_, node};
  if (auto found = cache_.Find(key)) return found;
  auto entry = std::make_shared<MaskCache::Entry>();
  entry->mask.resize((vocabulary_.vocab_size() + 63) / 64);
  WalkAll(states_.On(node, PushdownStates::kAnyFrame), plain_runs_.FromNode(node), entry.get());
  entry->leaving_nodes.shrink_to_fit();
  cache_.Put(key, entry);
  return entry;
}

void TokenMasks::AddPair(Configuration at, MaskCache::Entry* entry) {
  const std::shared_ptr<const MaskCache::Entry> of_node = OfNode(at.node);
  for (size_t i = 0; i < entry->mask.size(); ++i) entry->mask[i] |= of_node->mask[i];
  if (of_node->leaving_nodes.empty()) return;
  const size_t characters = plain_runs_.OnStack(at, states_);
  vocabulary_.plain_tokens().Allow(characters, &entry->mask);
  const StateId after = states_.After(at.stack);
  for (const uint32_t leaving : of_node->leaving_nodes) {
    Walk(leaving + 1, vocabulary_.nodes()[leaving].end, after, characters, entry);
  }
}

std::shared_ptr<const MaskCache::Entry> TokenMasks::Of(StateId state) {
  const MaskCache::Key key = {state_owner_, state};
  if (auto found = cache_.Find(key)) return found;
  auto entry = std::make_shared<MaskCache::Entry>();
  entry->mask.resize((vocabulary_.vocab_size() + 63) / 64);
  const absl::Span<const Configuration> view = states_.configurations(state);
  // A copy: walking makes states.
  const std::vector<Configuration> pairs(view.begin(), view.end());
  const auto is_deep = [this](const Configuration& at) {
    return states_.frame(at.stack).depth > kMostDepth;
  };
  if (pairs.size() > kMostNodes || std::any_of(pairs.begin(), pairs.end(), is_deep)) {
    WalkAll(state, {}, entry.get());
  } else {
    for (const Configuration& at : pairs) AddPair(at, entry.get());
  }
  AllowSymbols(state, &entry->mask);
  if (states_.Accepts(state)) {
    for (const uint32_t token : end_tokens_) AllowToken(token, &entry->mask);
  }
  cache_.Put(key, entry);
  return entry;
}

}  // namespace baton::structured
