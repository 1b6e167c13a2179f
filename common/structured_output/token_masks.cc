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
                       absl::Span<const uint32_t> token_symbols, PushdownStates* states,
                       MaskCache* cache)
    : vocabulary_(*vocabulary),
      end_tokens_(end_tokens.begin(), end_tokens.end()),
      token_symbols_(token_symbols),
      states_(*states),
      cache_(*cache),
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

void TokenMasks::Walk(uint32_t begin, uint32_t end, StateId state, MaskCache::Entry* entry) {
  if (begin == end || state == PushdownStates::kDead) return;
  const absl::Span<const VocabularyTrie::Node> nodes = vocabulary_.nodes();
  path_[nodes[begin].depth - 1] = state;
  for (uint32_t i = begin; i < end;) {
    const VocabularyTrie::Node& node = nodes[i];
    const StateId next = states_.Step(path_[node.depth - 1], node.byte);
    if (next == PushdownStates::kDead) {
      i = node.end;
      continue;
    }
    path_[node.depth] = next;
    for (const uint32_t token : vocabulary_.tokens(node)) AllowToken(token, &entry->mask);
    if (states_.Leaves(next) && node.end > i + 1) entry->leaving_nodes.push_back(i);
    ++i;
  }
}

std::shared_ptr<const MaskCache::Entry> TokenMasks::OfNode(NodeId node) {
  const MaskCache::Key key = {node_owner_, node};
  if (auto found = cache_.Find(key)) return found;
  auto entry = std::make_shared<MaskCache::Entry>();
  entry->mask.resize((vocabulary_.vocab_size() + 63) / 64);
  Walk(0, static_cast<uint32_t>(vocabulary_.nodes().size()),
       states_.On(node, PushdownStates::kAnyFrame), entry.get());
  entry->leaving_nodes.shrink_to_fit();
  cache_.Put(key, entry);
  return entry;
}

std::shared_ptr<const MaskCache::Entry> TokenMasks::Of(StateId state) {
  const MaskCache::Key key = {state_owner_, state};
  if (auto found = cache_.Find(key)) return found;
  auto entry = std::make_shared<MaskCache::Entry>();
  entry->mask.resize((vocabulary_.vocab_size() + 63) / 64);
  const absl::Span<const Configuration> view = states_.configurations(state);
  const auto is_deep = [this](const Configuration& at) {
    return states_.frame(at.stack).depth > kMostDepth;
  };
  if (view.size() > kMostNodes || std::any_of(view.begin(), view.end(), is_deep)) {
    Walk(0, static_cast<uint32_t>(vocabulary_.nodes().size()), state, entry.get());
  } else {
    // A copy: walking makes states.
    for (const Configuration at : std::vector<Configuration>(view.begin(), view.end())) {
      const std::shared_ptr<const MaskCache::Entry> of_node = OfNode(at.node);
      for (size_t i = 0; i < entry->mask.size(); ++i) entry->mask[i] |= of_node->mask[i];
      const StateId after = states_.After(at.stack);
      for (const uint32_t leaving : of_node->leaving_nodes) {
        Walk(leaving + 1, vocabulary_.nodes()[leaving].end, after, entry.get());
      }
    }
  }
  AllowSymbols(state, &entry->mask);
  if (states_.Accepts(state)) {
    for (const uint32_t token : end_tokens_) AllowToken(token, &entry->mask);
  }
  cache_.Put(key, entry);
  return entry;
}

}  // namespace baton::structured
