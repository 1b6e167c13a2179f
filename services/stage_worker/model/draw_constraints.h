// Structured output: which tokens the rows of a step may draw.
//
// A row's place in its constraint follows from the tokens of its answer alone. It is kept from draw
// to draw, and made again from them when the sequence comes back (another SamplingSettings object).
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/structured_output/mask_cache.h"
#include "common/structured_output/token_constraint.h"
#include "common/structured_output/vocabulary_trie.h"
#include "services/stage_worker/kv_cache/step_batch.h"
#include "services/stage_worker/model/draw_rules.h"

namespace baton::stage {

// Owned by the thread of rank 0's device.
class DrawConstraints final {
 public:
  DrawConstraints();

  // What tokens stand for; null, as in the beginning: no constraint can be kept.
  void SetVocabulary(std::shared_ptr<const structured::VocabularyTrie> vocabulary);

  // What may be drawn at `draw`, whose settings have a constraint: what it allows, of the settings'
  // allowed tokens; not the masked ones, nor the banned ones, unless nothing else is left. Errors,
  // of which the sequence dies: InvalidArgument (the constraint does not compile, no token is
  // left), FailedPrecondition (no vocabulary), Internal (an answer that does not keep to it).
  absl::StatusOr<DrawTokens> TokensFor(const DrawRow& draw);

  size_t num_sequences() const { return places_.size(); }
  size_t num_compiled() const { return compiled_.size(); }

 private:
  struct Place {
    std::shared_ptr<const SamplingSettings> sampling;
    size_t num_taken = 0;  // tokens of the answer
    bool begun = false;    // behind begin_after_token_id
    structured::ConstraintMatcher matcher;
  };
  struct Compiled {
    std::string key;
    absl::StatusOr<std::shared_ptr<structured::TokenConstraint>> constraint;
  };

  absl::StatusOr<Place*> PlaceOf(const DrawRow& draw);
  absl::StatusOr<std::shared_ptr<structured::TokenConstraint>> Compile(
      const StructuredSettings& settings);
  // Drops what only this object still remembers.
  void Forget();

  std::shared_ptr<const structured::VocabularyTrie> vocabulary_;
  const std::shared_ptr<structured::MaskCache> masks_;
  absl::flat_hash_map<uint64_t, Place> places_;  // by sequence
  size_t forget_above_ = 0;
  std::list<Compiled> compiled_;  // used last first
};

}  // namespace baton::stage
