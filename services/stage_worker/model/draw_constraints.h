// Structured output: which tokens the rows of a step may draw.
//
// A row's place in its constraint follows from the tokens of its answer alone. It is kept from draw
// to draw, and made again from them when the sequence comes back (another SamplingSettings object).
// Constraints are compiled beside the draws (CompiledConstraints): as soon as a sequence is known
// that has one, and awaited where its answer begins, so behind its reasoning and no sooner. Where
// it is known before that it cannot be had, the sequence is told at once, mostly instead of its
// first token; but not one that comes back with a part of its reasoning, for which there may be
// room again by then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>

#include "absl/status/statusor.h"

#include "common/digest/sha256.h"
#include "common/structured_output/token_constraint.h"
#include "common/structured_output/vocabulary_trie.h"
#include "services/stage_worker/kv_cache/step_batch.h"
#include "services/stage_worker/model/compiled_constraints.h"
#include "services/stage_worker/model/draw_rules.h"

namespace baton::stage {

// Owned by the thread of rank 0's device.
class DrawConstraints final {
 public:
  explicit DrawConstraints(ConstraintOptions options = {}) : compiled_(std::move(options)) {}

  // While nobody draws: what tokens stand for; null, as in the beginning: no constraint can be
  // kept.
  void SetVocabulary(std::shared_ptr<const structured::VocabularyTrie> vocabulary);

  // Tokens will be drawn for a sequence with these settings, whose answer so far is given: begins
  // to compile its constraint, if it has one, and does not wait. Any thread.
  void Prepare(const SamplingSettings& sampling, std::span<const uint32_t> answer_tokens = {});

  // The draws that follow are of another step. Before each step: what its draws may wait is bounded
  // (CompiledConstraints::kMostStepWait).
  void BeginStep() { compiled_.BeginStep(); }

  // What may be drawn at `draw`, whose settings have a constraint: what it allows, of the settings'
  // allowed tokens; not the masked ones, nor the banned ones, unless nothing else is left. Errors,
  // of which the sequence dies: InvalidArgument (the constraint does not compile or is too large,
  // no token is left), ResourceExhausted (others' constraints leave it no room or time: see
  // CompiledConstraints), FailedPrecondition (no vocabulary), Internal (an answer that does
  // not keep to it).
  absl::StatusOr<DrawTokens> TokensFor(const DrawRow& draw);

  size_t num_sequences() const { return places_.size(); }
  size_t num_compiled() const { return compiled_.num_kept(); }
  // Masks, compiled constraints and their states. Any thread.
  size_t bytes() const { return compiled_.bytes(); }

 private:
  struct Place {
    std::weak_ptr<const SamplingSettings> sampling;           // gone: its sequence has ended
    size_t num_taken = 0;                                     // tokens of the answer
    bool begun = false;                                       // behind begin_after_token_id
    std::optional<Sha256Digest> asked;                        // during the reasoning: see Ask
    std::shared_ptr<structured::TokenConstraint> constraint;  // once that is there, or needed
    std::optional<structured::ConstraintMatcher> matcher;     // once that is needed
  };

  absl::StatusOr<Place*> PlaceOf(const DrawRow& draw);
  // Of the place, that of `draw`, whose answer has begun. `has_drawn`: see
  // CompiledConstraints::Get.
  absl::StatusOr<structured::ConstraintMatcher*> MatcherOf(const DrawRow& draw, Place* place,
                                                           bool has_drawn);
  // Of a sequence that is reasoning: what its constraint is refused with, if that is known by now.
  // Asks while the place has a key to ask with.
  absl::Status Ask(const DrawRow& draw, Place* place);
  // Drops the places of sequences that have ended, so that what they held can be freed.
  void Forget();

  std::shared_ptr<const structured::VocabularyTrie> vocabulary_;
  CompiledConstraints compiled_;
  std::unordered_map<uint64_t, Place> places_;  // by sequence; Forget leaves the others in place
};

}  // namespace baton::stage
