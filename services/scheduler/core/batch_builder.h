// Forms one micro-batch: decodes first, then prompts that began, then prompts that begin.
//
// Before that it shares out the places among those that run. A key that has fewer than its part of
// them (by weight, of the keys that have live sequences) claims one for what it has waiting: it
// gets a free one, or the place of the latest sequence of the key that is most over its part. That
// one is paused: it keeps its blocks, and goes on when a place is free. Where blocks are what is
// wanting, latest sequences of keys that hold more than their part of them give them up, and are
// computed anew later; none does so more than twice, nor the first of a key. No claim is answered
// while the next in order of service is overdue and its blocks are not free: they come to it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "services/scheduler/core/admitted_order.h"
#include "services/scheduler/core/block_ledger.h"
#include "services/scheduler/core/decode_policy.h"
#include "services/scheduler/core/prompt_budget.h"
#include "services/scheduler/core/request_queue.h"
#include "services/scheduler/core/running_set.h"
#include "services/scheduler/core/step_cost.h"
#include "services/scheduler/core/step_work.h"

namespace baton::scheduler {

// Work of one sequence in a step.
struct BatchRow {
  SequenceId id = 0;
  bool begins = false;      // the stages learn the sequence, with all its tokens, before this step
  uint32_t begin = 0;       // if it begins: behind what is in the cache already
  uint32_t num_tokens = 0;  // with drafts
  bool sample = false;
  std::optional<uint32_t> num_expanded;  // of the sequence
  std::vector<TokenId> drafts;           // the last tokens of the row: guesses that the step checks
  // The step that samples the row's one token, which is not known yet; 0: all tokens are known.
  StepId feedback_step = 0;
  std::vector<TokenId> appended;    // tokens that the stages have not been told yet
  std::vector<BlockId> new_blocks;  // added to the sequence's table, in order
};

// Adds what `row` asks of a stage.
void AddWork(const BatchRow& row, StepWork* work);

// One micro-batch.
struct Batch {
  StepId step_id = 0;
  std::vector<BatchRow> rows;
  std::vector<SequenceId> finished;  // forgotten before the step
  // Since the step before it was formed, there was always something that ran, was paused or waited:
  // if a stage had nothing to do in between, that was not for lack of requests.
  bool work_waited = false;

  // The newest step whose tokens it begins with; 0: all are known.
  StepId feedback_step() const {
    StepId newest = 0;
    for (const BatchRow& row : rows) newest = std::max(newest, row.feedback_step);
    return newest;
  }
  uint32_t num_tokens() const {
    uint32_t sum = 0;
    for (const BatchRow& row : rows) sum += row.num_tokens;
    return sum;
  }
};

// Half of what a message between the roles may have: the rest of a step's command is far smaller.
inline constexpr uint64_t kMaxToldBytes = 4 << 20;

struct BatchLimits {
  uint32_t max_tokens = 2048;
  uint32_t max_running = 256;
  uint32_t num_steps = 1;            // steps in flight that share the running sequences
  uint32_t num_free_steps = 1;       // of them, not in flight yet: they share the newcomers
  uint32_t num_reserved_blocks = 0;  // stay free when a sequence begins while others run
  uint32_t max_len = 0;  // tokens of prompt and answer together that a sequence may have
  FeedbackLimits feedback;
  // What the stages can be told of newcomers in one step; a single one may be larger.
  uint64_t max_told_bytes = kMaxToldBytes;
  uint32_t max_chunk = 0;   // tokens of one prompt in a step; 0: max_tokens
  uint32_t min_chunk = 64;  // chunks are not cut below it to save time, or to share the step
  double max_seconds = 0;   // of a step with prompts, as predicted; 0: no matter
  // A step takes no longer, as predicted, by what can wait: rows of keys over their share, or
  // alone. It may take an eighth longer than what cannot, and takes one decode; 0: no matter.
  // Prompts that cannot wait are all but alone in their first step, with decodes that cannot. Then
  // what can wait has an eighth of the time, but no tokens for which they would need one step more,
  // unless it is owed a whole one.
  double short_seconds = 0;
  // What the steps up to this one that had such prompts, one after the other, owe what can wait, a
  // whole step's at most; nullopt: the last one had none.
  std::optional<double> owed_seconds;
  // Where steps are kept short, so many blocks more stay free when one of a key that floods begins;
  // unless it is overdue while its key lacks its share of the blocks.
  uint32_t num_newcomer_blocks = 0;
};

// What sequences looked for in the prefix cache when they began for the first time.
struct PrefixLookups {
  uint64_t num_query_tokens = 0;
  uint64_t num_hit_tokens = 0;  // of these: found

  bool operator==(const PrefixLookups&) const = default;
};

// Borrowed state that Build changes.
struct BatchState {
  RunningSet* running = nullptr;
  RunningSet* paused = nullptr;
  RunningSet* suspended = nullptr;  // that hold blocks
  RequestQueue* waiting = nullptr;
  BlockLedger* ledger = nullptr;
  PrefixLookups* lookups = nullptr;
  uint64_t* num_pauses = nullptr;
  const StepCost* cost = nullptr;
  // Called for each sequence that gives up its blocks; afterwards it waits, or is suspended still.
  std::function<void(Sequence*)> preempt;
  // False while the stages still have to be told to forget the sequence.
  std::function<bool(const Sequence&)> may_begin;
};

class BatchBuilder final {
 public:
  BatchBuilder(const BatchLimits& limits, BatchState state)
      : limits_(limits), state_(std::move(state)) {}

  // Rows of step `step_id`; the sequences in them have advanced. Perhaps none.
  std::vector<BatchRow> Build(StepId step_id);
  // Rows of a step for `sequence` alone: it runs, or it waits and nothing else runs. No token is
  // fed back: each of its steps waits for the one before.
  std::vector<BatchRow> BuildAlone(Sequence* sequence, StepId step_id);
  // For the limits of the step that comes next.
  std::optional<double> owed_seconds() const;

 private:
  void Reset(StepId step_id);
  void Preempt(Sequence* sequence);
  // How long the step may get by what can wait: with all rows that are decodes and cannot.
  void PlanTime();
  double FullStepSeconds() const { return state_.cost->Seconds({.tokens = limits_.max_tokens}); }
  // Whether what is next in the queue finds a place and blocks.
  bool NextCanBegin();
  void AddDecodes(const FeedbackLimits& feedback);
  // Of the first `share` decodes, those that cannot wait come first. How many they are.
  size_t MoveUrgentFirst(size_t share, std::vector<Sequence*>* decodes) const;
  // False: the step is long enough without one more decode that can wait.
  bool HasTimeFor(const Sequence& decode) const;
  // Likewise, without the next tokens of a prompt that can wait. What it takes of them is at least
  // one, beside prompts that cannot wait only if there is time for that.
  bool HasTimeForChunk(const Sequence& prompt) const;
  // What the step does with the prompts that cannot wait.
  double SecondsWithUrgent(StepWork more = {}) const;
  // What can wait is owed the time of a whole step.
  bool IsOwedAStep() const {
    return limits_.owed_seconds.has_value() && *limits_.owed_seconds >= FullStepSeconds();
  }
  // Tokens of `prompt` that a step should have if it has any, so that most of the time that they
  // take is not for the keys and values of those before them. 0: no matter.
  uint32_t LeastChunk(const Sequence& prompt) const;
  // `budget` tokens of `prompt` are too few for what the step would pay for them: a later step
  // takes more.
  bool IsTooShort(const Sequence& prompt, uint32_t budget) const;
  // But not if it has been left out for long.
  bool IsLeftOutLong(const Sequence& prompt) const;
  // The least of `prompt` in a step that is short already: it makes what the first of these tokens
  // costs longer by an eighth at most.
  uint32_t ShortChunk(const Sequence& prompt) const;
  void AddBegunPrompts();
  // Prompts of one class, in order of service. They `can_wait` if their keys are over their share.
  // None of a key goes before another one of it; keys take turns.
  void AddPrompts(const std::vector<Sequence*>& prompts, bool can_wait);
  std::vector<PromptNeed> NeedsOf(const std::vector<Sequence*>& prompts) const;
  // At most `budget` of its tokens. False: there is no room.
  bool AddChunk(Sequence* sequence, uint32_t budget, bool can_wait);
  // Those that wait begin, by order of service, but of keys and classes of which one that has its
  // place is still to have its first tokens.
  void AddNewPrompts();
  // How many of those that wait may begin in one step, so that each step begins as many.
  uint32_t NumNewcomers() const;
  // `sequence`, which waits, begins. False: it has to wait on, or has only got its place, because
  // what is left of the step is too little for it.
  bool Begin(Sequence* sequence);
  // What is cached of `sequence`, which waits and may begin. If blocks are wanting for the rest,
  // sequences that are suspended give up theirs, one after the other.
  // None does if that is not enough.
  CachedPrefix MakeRoomFor(Sequence* sequence);
  // Whether `sequence` fits, once those that are suspended have given up theirs.
  bool FitsWithSuspended(const Sequence& sequence, const CachedPrefix& prefix);
  // Blocks that would be free then besides those that are, for one that begins behind `prefix`: the
  // blocks of that are no gain, for it would have to take them. Linear in the blocks of the
  // suspended, and of the cache, but only where the last answer holds no longer: since then one
  // gave up its blocks, or another shares them.
  uint64_t NumSuspendedBlocks(const CachedPrefix& prefix);
  // It has a place and blocks from now on; it fits.
  void Place(Sequence* sequence, const CachedPrefix& prefix);
  // Blocks that stay free when `sequence` begins.
  uint32_t NumReserved(const Sequence& sequence) const;

  // Places that are the part of `key`.
  uint32_t PlacesFor(const KeyAccount& key) const;
  // Of several keys, that of `sequence` has no more places than its part, nor, where steps are
  // kept short, does it flood the group.
  bool IsWithinShare(const Sequence& sequence) const;
  // Answers claims, then gives what is free to those that are paused. Where one of a better class
  // waits and fits, it begins before them, unless they have waited too long.
  void SharePlaces();
  // The next that waits, if it goes before `paused`, which is; null if not.
  Sequence* FindBetter(const Sequence& paused) const;
  enum class BetterOne {
    kBegan,
    kComes,  // in one of the next steps: NumKept places are kept
    kNone,   // there is none, or it finds no place or no blocks
  };
  BetterOne BeginBetter(const Sequence& paused);
  // Places that are kept where better ones come in one of the next steps: for all that wait, if
  // they are spread over those that are free; one if it is not known in which it comes.
  size_t NumKept() const;
  // Prompts in places that go before a newcomer of the class, or stand beside it. Each counts as
  // one chunk: no step has two of a prompt, and those for which one step is too little leave no
  // room.
  struct PromptsAhead {
    void Add(const Sequence& sequence);
    int32_t priority = 0;
    StepWork work = {};
    uint64_t told_bytes = 0;
  };
  // Linear in the number of those that run, but only for the first newcomer of a class: who goes on
  // meanwhile is of a worse one.
  const PromptsAhead& PromptsBefore(int32_t priority);
  // The step has room for `newcomer` besides the prompts ahead of it.
  bool HasRoomFor(const Sequence& newcomer);
  // What some gave up, or are to, is for a claim that wants more than that.
  bool collects_blocks() const { return preempted_ || !yielding_.empty(); }
  // Linear in the number of keys that wait; for each claim answered, of those that run; and as
  // NumSuspendedBlocks says.
  void AnswerClaims(uint32_t most);
  // `sequence` has waited too long, beside other keys; and its key does not have its share of the
  // blocks, so that it would have to wait for its own.
  bool IsOwedBlocks(const Sequence& sequence) const;
  // The next in order of service is owed blocks that are not free: nobody takes any before it.
  bool BlocksAreOwed();
  struct ClaimRound;
  struct BlockUsage;
  Sequence* FirstPaused(const ClassFilter& admitted, ClaimRound* round) const;
  // False: the claim cannot be met now.
  bool ResumeClaim(Sequence* sequence);
  bool BeginClaim(Sequence* sequence, ClaimRound* round);
  // Whose place a claimant gets: one of the latest of the key that is most over its share. Null if
  // it gets a free one, nullopt if there is none for it.
  std::optional<Sequence*> FindPlaceFor(const Sequence& claimant) const;
  bool FreePlaceFor(const Sequence& claimant);
  // FindPlaceFor, once for all claims of a class.
  std::optional<Sequence*> PlaceFor(const Sequence& claimant, ClaimRound* round) const;
  const BlockUsage& UsageOf(ClaimRound* round) const;
  // True if blocks became free, or will once steps in flight are done, so that `num_needed` are.
  // What it shares with those that leave is no gain, as for NumSuspendedBlocks.
  bool TakeBlocksFor(const Sequence& claimant, const CachedPrefix& prefix, ClaimRound* round);
  void Yield(Sequence* sequence);
  void Pause(Sequence* sequence);
  void Resume(Sequence* sequence);
  void CountLookup(const Sequence& sequence, uint32_t num_cached);
  // Adds a row for the newest token of `sequence`, known or pending. False: no block is free.
  bool AddDecode(Sequence* sequence);
  // Rows take drafts along, once all decodes have their places and blocks.
  void AddDrafts();
  // How many drafts, at most `most`, a row may take along besides `others`: nothing waits for them
  // where steps are kept short, nor does a prompt that cannot wait need one step more for them.
  uint64_t NumInTime(uint64_t most, const StepWork& others) const;
  // How many drafts, at most `most`, the row for the newest token of `sequence` takes along:
  // as many as may be of use and find room. Adds to its `blocks`.
  size_t NumUseful(const Sequence& sequence, uint64_t most, std::vector<BlockId>* blocks);
  void AddPendingRow(Sequence* sequence, std::vector<BlockId> new_blocks);
  // The next tokens of a prompt, as many as the step takes, at most `budget`.
  uint32_t NextChunk(const Sequence& sequence, uint32_t budget, bool can_wait) const;
  // The stages can be told of the sequence in this step.
  bool CanTell(const Sequence& sequence) const;
  // Blocks for the next token of `sequence`, preempting others if need be.
  std::optional<std::vector<BlockId>> FindBlocks(Sequence* sequence);
  void AddRow(Sequence* sequence, uint32_t num_tokens, std::vector<BlockId> new_blocks);
  // A step takes tokens that can wait.
  void CountOther(uint32_t num_tokens) {
    if (other_tokens_ != UINT32_MAX) other_tokens_ -= num_tokens;
  }
  bool full() const { return budget_ == 0 || rows_.size() >= limits_.max_running; }
  // It is as long as it may get by what can wait.
  bool long_enough() const {
    return most_seconds_ > 0 && !rows_.empty() && state_.cost->Seconds(work_) >= most_seconds_;
  }

  const BatchLimits limits_;
  const BatchState state_;
  StepId step_id_ = 0;
  uint32_t budget_ = 0;
  // Tokens that such prompts as are added next may have of the step, if no better ones take any.
  uint32_t part_tokens_ = 0;
  uint64_t told_bytes_ = 0;  // of newcomers in this step
  StepWork work_;            // of the rows so far
  StepWork urgent_;          // of prompts that are to come into the step, and cannot wait
  // As predicted, that the step takes without what can wait; and may take with it, at first without
  // prompts. 0: no matter.
  double urgent_seconds_ = 0;
  double most_seconds_ = 0;
  double decode_seconds_ = 0;
  // Tokens that are left to what can wait.
  uint32_t other_tokens_ = UINT32_MAX;
  bool has_other_decode_ = false;
  bool preempted_ = false;
  uint32_t num_newcomers_ = 0;  // that may begin yet, besides claims
  // Of each block, how many hold it that are suspended and could give it up; and how many blocks
  // nobody else holds.
  struct SuspendedBlocks {
    std::vector<uint32_t> num_holders;
    uint64_t num_alone = 0;
  };
  std::optional<SuspendedBlocks> suspended_blocks_;  // see NumSuspendedBlocks
  std::optional<PromptsAhead> ahead_;                // see PromptsBefore
  bool prompts_wait_ = false;                        // one that began found no room in the step
  // Of which one that has its place is still to have its first tokens, by class.
  std::set<std::pair<const KeyAccount*, int32_t>> keys_to_begin_;
  std::set<const Sequence*> yielding_;  // paused, to give up their blocks
  std::vector<BatchRow> rows_;
  // What was guessed behind the newest token of a row.
  struct Guesses {
    size_t row = 0;
    const Sequence* sequence = nullptr;
    std::vector<TokenId> drafts;
  };
  std::vector<Guesses> guesses_;
};

}  // namespace baton::scheduler
