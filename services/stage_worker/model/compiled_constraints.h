// The constraints of the sequences that a stage draws for, compiled beside the draws, and one
// budget of bytes for all that they take.
//
//   unknown --Prepare--> queued --own thread--> compiling --> compiled, refused or too large
//   too large --Prepare, once there is room--> queued
//   queued --own thread, if the room is gone again--> too large
//   unknown, queued, too large --Get--> compiling, by the caller --> likewise
//
// Half of the budget is for masks. The other half is for compiled constraints and their states:
// what no sequence uses is dropped, the least recently used first. What sequences use stays
// compiled and may take half of that half. One more that does not fit beside the others is refused.
// A sequence that has drawn with it already had its room, and lost it when it was preempted, or
// with the stage: for those that come back there is a quarter of that half beside. States are
// forgotten where they would take more than the rest: matchers make theirs again from the text.
//
// The draws of one step wait for compiling until it has taken two seconds; what is not compiled by
// then is refused, but for such a sequence: a step is everybody's.
//
// What is compiled, and whether it is refused by itself, depends on the constraint alone, so tokens
// do not depend on what was ready when.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

#include "common/digest/sha256.h"
#include "common/structured_output/constraint.h"
#include "common/structured_output/mask_cache.h"
#include "common/structured_output/token_constraint.h"
#include "common/structured_output/vocabulary_trie.h"
#include "services/stage_worker/kv_cache/step_work.h"

namespace baton::stage {

struct ConstraintOptions {
  // Of masks, compiled constraints and their states, together.
  size_t capacity_bytes = size_t{512} << 20;
  // Any thread, several at a time.
  std::function<absl::StatusOr<structured::Automaton>(const structured::Constraint&)> compile =
      [](const structured::Constraint& constraint) {
        return structured::CompileConstraint(constraint);
      };
  // The drawing thread.
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

class CompiledConstraints final {
 public:
  // Constraints that may wait for the thread; more are compiled when they are drawn with.
  static constexpr size_t kMostQueued = 64;
  // That the draws of one step wait for compiling; then nothing more is begun or waited for.
  static constexpr std::chrono::seconds kMostStepWait{2};

  explicit CompiledConstraints(ConstraintOptions options);
  ~CompiledConstraints();  // waits for what the thread is compiling

  // While nobody draws: what tokens stand for; null: no constraint is compiled. Forgets all others.
  void SetVocabulary(std::shared_ptr<const structured::VocabularyTrie> vocabulary)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // What makes two constraints the same.
  static Sha256Digest KeyOf(const StructuredSettings& settings);

  // A sequence that will be drawn for has these settings: compiles them on the own thread, if they
  // are not known, or found no room and would find it now. Does not wait. `has_drawn`: see Get; Get
  // will be called with it. Any thread.
  void Prepare(const std::shared_ptr<const StructuredSettings>& settings, bool has_drawn = false)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    TryGet(KeyOf(*settings), settings, has_drawn).IgnoreError();
  }
  // The same, and what is known by now: as Get; null: nothing. `key`: of the settings.
  absl::StatusOr<std::shared_ptr<structured::TokenConstraint>> TryGet(
      const Sha256Digest& key, const std::shared_ptr<const StructuredSettings>& settings,
      bool has_drawn = false) ABSL_LOCKS_EXCLUDED(mutex_);

  // The drawing thread's: the calls of Get that follow are of another step.
  void BeginStep() { step_wait_ = {}; }

  // The drawing thread's, with a vocabulary. Waits if the own thread is compiling just this;
  // compiles it if nobody has. Kept while the settings live or somebody else holds the result.
  // `has_drawn`: the answer of the sequence has tokens that were drawn with it.
  // Errors: InvalidArgument (it does not compile, or is by itself more than all in use may take);
  // ResourceExhausted (it does not fit beside those in use; or the step has waited for long enough,
  // unless `has_drawn`).
  absl::StatusOr<std::shared_ptr<structured::TokenConstraint>> Get(
      const std::shared_ptr<const StructuredSettings>& settings, bool has_drawn = false)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The drawing thread's, after each use of what Get gave, which may have made states and masks:
  // keeps to the budget.
  void NoteUse(const structured::TokenConstraint& constraint) ABSL_LOCKS_EXCLUDED(mutex_);

  // What is held, as of the last call. Within the budget, but for the states of the constraint used
  // last, an eighth of it at most, while what has ended is still held. Any thread.
  size_t bytes() const ABSL_LOCKS_EXCLUDED(mutex_);
  size_t num_kept() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  enum class Phase { kQueued, kCompiling, kCompiled, kRefused, kTooLarge };
  using Made = absl::StatusOr<std::shared_ptr<structured::TokenConstraint>>;

  struct User {
    std::weak_ptr<const StructuredSettings> settings;  // gone: its sequence has ended
    bool has_drawn = false;                            // see Get
  };
  struct Entry {
    Sha256Digest key = {};
    Phase phase = Phase::kQueued;
    std::vector<User> users;
    std::shared_ptr<structured::TokenConstraint> constraint;  // kCompiled
    absl::Status refusal;                                     // kRefused
    size_t fixed_bytes = 0;                                   // counted: this, automaton, refusal
    size_t state_bytes = 0;                                   // counted
    size_t wanted_bytes = 0;  // of the automaton, once that was too large
  };
  using Place = std::list<Entry>::iterator;

  Made Make(const StructuredSettings& settings,
            std::shared_ptr<const structured::VocabularyTrie> vocabulary) const;
  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !queue_.empty();
  }

  // The entry of these settings, whose key is given: the one used last from now on; made if there
  // is none. They are of its users from now on.
  Place PlaceOf(const Sha256Digest& key, const std::shared_ptr<const StructuredSettings>& settings,
                bool has_drawn, bool* is_new) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What Get says of the entry; null while it is queued or compiled.
  Made Known(const Entry& entry) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether Get would have to wait, or to compile.
  bool IsOpen(const Entry& entry) const;
  // Whether the caller has to compile the entry, which is kCompiling then; waits for who does. If
  // not, Known has an answer until the mutex is let go: behind that, Prepare may queue what was too
  // large.
  bool TakeOver(Place place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Finish(Place place, Made made) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Erase(Place place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Whether a sequence that is there has drawn with it.
  static bool HasDrawn(const Entry& entry);
  // A sequence that is there has it, or it is on its way.
  static bool InUse(const Entry& entry);
  // That, or whoever drew with it for a sequence that has ended has not let go of it yet: it cannot
  // be freed. It is not counted among those in use, but with them it may take the whole half.
  static bool IsKept(const Entry& entry) {
    return InUse(entry) || entry.constraint.use_count() > 1;
  }
  size_t BytesKept() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  size_t BytesInUse() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether an automaton of so many bytes may join those in use. `has_drawn`: see HasDrawn; so
  // below.
  bool HasRoom(size_t automaton_bytes, bool has_drawn) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The same; if so there is room for it.
  bool MakeRoom(size_t automaton_bytes, bool has_drawn) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // That constraints in use may take.
  size_t MostInUse(bool has_drawn) const;
  // Whether an automaton of so many bytes could be had if nothing else were in use.
  bool FitsAlone(size_t automaton_bytes) const;
  absl::Status NoRoomFor(const Entry& entry) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Drops what need not be kept until `capacity` is kept to, or nothing of that is left.
  void DropUnused(size_t capacity) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetStates(const structured::TokenConstraint& newest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountStates(Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const ConstraintOptions options_;
  const size_t capacity_bytes_;  // of automata and states
  // Its masks are the drawing thread's.
  const std::shared_ptr<structured::MaskCache> masks_;
  std::chrono::steady_clock::duration step_wait_ = {};  // the drawing thread's

  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<const structured::VocabularyTrie> vocabulary_ ABSL_GUARDED_BY(mutex_);
  uint64_t vocabulary_count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // used last first
  absl::flat_hash_map<Sha256Digest, Place> by_key_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<const structured::TokenConstraint*, Place> by_constraint_
      ABSL_GUARDED_BY(mutex_);
  std::deque<Place> queue_ ABSL_GUARDED_BY(mutex_);
  size_t fixed_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t state_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t mask_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

}  // namespace baton::stage
