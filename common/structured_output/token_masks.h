// Which tokens may follow in a state: the vocabulary's tree walked with the automaton.
//
// What a node of a rule allows is the same on every stack, but for tokens that go beyond the end of
// its rule. So a node's mask is made once, on a stack of which nothing is known, with the places in
// the tree where the rule is left; a state's mask is the masks of its nodes, and what its stack
// allows behind those places.
//
// Where any plain text (plain_tokens.h) of some length may follow, the plain tokens of that length
// come out of masks that the vocabulary holds, and the walk passes them over.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"

#include "common/structured_output/automaton.h"
#include "common/structured_output/mask_cache.h"
#include "common/structured_output/plain_runs.h"
#include "common/structured_output/pushdown_states.h"
#include "common/structured_output/vocabulary_trie.h"

namespace baton::structured {

// One caller at a time.
class TokenMasks final {
 public:
  // `end_tokens` may be drawn where the text may end. `states` are the automaton's. All must
  // outlive this.
  TokenMasks(const VocabularyTrie* vocabulary, absl::Span<const uint32_t> end_tokens,
             const Automaton* automaton, PushdownStates* states, MaskCache* cache);

  // Of [vocab_size] bits, never null.
  std::shared_ptr<const MaskCache::Entry> Of(StateId state);

  // What is held here beside the cache's masks; grows with use.
  size_t bytes() const { return plain_runs_.bytes(); }

 private:
  std::shared_ptr<const MaskCache::Entry> OfNode(NodeId node);
  // Allows the tokens that continue the pair.
  void AddPair(Configuration at, MaskCache::Entry* entry);
  // Allows the tokens without text that may follow.
  void AllowSymbols(StateId state, TokenMask* mask);
  // Allows the tokens of nodes [begin, end) of the tree, which continue `state`, but for plain ones
  // of at most `most_passed` characters in all. Where a rule is left on kAnyFrame, the place is
  // noted, unless nothing but such tokens goes on there.
  void Walk(uint32_t begin, uint32_t end, StateId state, size_t most_passed,
            MaskCache::Entry* entry);
  // The same for the whole vocabulary.
  void WalkAll(StateId state, PlainRuns::Run run, MaskCache::Entry* entry);

  const VocabularyTrie& vocabulary_;
  const std::vector<uint32_t> end_tokens_;
  const absl::Span<const uint32_t> token_symbols_;
  PushdownStates& states_;
  MaskCache& cache_;
  PlainRuns plain_runs_;
  const uint64_t node_owner_;
  const uint64_t state_owner_;
  std::vector<StateId> path_;  // states by depth in the tree
};

}  // namespace baton::structured
