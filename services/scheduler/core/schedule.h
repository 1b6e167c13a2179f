// The pure heart of the scheduler: every live sequence, the block ledger and the steps in flight.
// Requests, results and changes of membership go in; micro-batches and news of sequences come out.
//
// Life of a sequence: Add -> waiting -> (NextBatch) running -> ... Complete ... -> ended.
//   running <-> paused    it gave its place to a key that had fewer than its share; it keeps its
//                         blocks and goes on when a place is free
//   any but ending <-> suspended
//                         its caller does not take its tokens: no further step has it until it
//                         does; it keeps its blocks until others need them, and has no place
//   running -> waiting    preempted for want of blocks, or the group lost a stage: its tokens stay,
//                         its KV is computed anew
//   running -> ending     over while a step in flight still writes its blocks; they are freed when
//                         that step is done
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "services/scheduler/core/admission_policy.h"
#include "services/scheduler/core/batch_builder.h"
#include "services/scheduler/core/block_ledger.h"
#include "services/scheduler/core/core_time.h"
#include "services/scheduler/core/newcomer_record.h"
#include "services/scheduler/core/request_queue.h"
#include "services/scheduler/core/running_set.h"
#include "services/scheduler/core/sequence.h"
#include "services/scheduler/core/service_rate.h"

namespace baton::scheduler {

struct ScheduleOptions {
  uint32_t block_tokens = 64;
  uint32_t max_step_tokens = 2048;
  uint32_t max_running = 256;                // also the most rows of a step
  uint32_t max_waiting = 1024;               // newcomers beyond it are refused
  uint64_t max_waiting_tokens = UINT64_MAX;  // of prompts and answers so far of those that wait
  TimeUs max_wait = kNever;                  // a newcomer that would wait longer is refused
  TimeUs priority_aging = 10'000'000;        // no priority class waits longer than this for a turn
  uint32_t max_steps_in_flight = 1;          // micro-batches between the stages
  // Steps ordered beyond these, so that a stage that ends one has the next. 0: a token is known
  // before the step that needs it is ordered.
  uint32_t lookahead_steps = 0;
  // Guesses of the stages behind each token that they sample, at most. 0: none. Otherwise no step
  // is ordered ahead: how many tokens it begins with is known only when the last one is done, and
  // prompts alone in it would part for good from what decodes.
  uint32_t num_speculative_tokens = 0;
  // Tokens of one prompt in a step; 0: max_step_tokens.
  uint32_t max_chunk_tokens = 0;
  // Chunks are cut so that their step is predicted to take no longer, but not below an eighth of
  // max_step_tokens, or 64; 0: not.
  double max_step_seconds = 0;
  StepCostOptions step_cost;
  uint32_t max_model_len = 0;  // tokens of prompt and answer together
  uint32_t vocab_size = 0;
  std::vector<TokenId> eos_token_ids;
  bool prefix_caching = true;  // full blocks are kept and shared by sequences that begin alike
  std::string cache_secret;    // nobody else's: of the names of cached blocks
  double watermark = 0;        // share of the blocks that stays free when a sequence begins
};

// What the stages say of a step, all of them together.
struct StepResult {
  struct Sampled {
    SequenceId id = 0;
    uint32_t position = 0;
    TokenId token = 0;
  };
  struct Fault {
    SequenceId id = 0;
    std::string message;
    bool caused_by_request = false;  // it asks for what cannot be had
    bool overloaded = false;         // others leave it no room; with neither, a stage failed
  };
  struct Drafts {
    SequenceId id = 0;
    std::vector<TokenId> tokens;  // guesses behind the last one sampled
  };
  StepId step_id = 0;
  // Of the rows with `sample`, in their order: one for the last known token, and one for each draft
  // that was right.
  std::vector<Sampled> tokens;
  std::vector<Drafts> drafts;  // of sequences with tokens
  std::vector<Fault> faults;
  std::vector<double> stage_seconds;  // of compute, by stage; empty: not measured
};

// What became of a sequence. After news with an ending its id is unknown here.
struct SequenceNews {
  SequenceId id = 0;
  std::optional<TokenId> token;
  std::optional<Ending> ending;
  uint32_t position = 0;  // of the token
};

// What became of drafts.
struct DraftCounts {
  uint64_t num_rows = 0;              // that took drafts along
  uint64_t num_tokens = 0;            // drafts in them
  uint64_t num_accepted = 0;          // of these: right
  std::vector<uint64_t> accepted_at;  // of these: entry i, the drafts at place i

  bool operator==(const DraftCounts&) const = default;
};

struct ScheduleCounts {
  uint32_t num_running = 0;
  uint32_t num_waiting = 0;
  uint32_t num_paused = 0;
  uint32_t num_suspended = 0;
  uint32_t num_used_blocks = 0;
  uint32_t num_total_blocks = 0;
  uint64_t num_preemptions = 0;
  uint64_t num_pauses = 0;
  uint64_t num_suspensions = 0;
  PrefixLookups prefix_lookups;
  uint64_t num_evicted_blocks = 0;  // cached blocks that were given to other sequences
  uint64_t num_waiting_tokens = 0;  // of prompts and answers so far
  uint64_t num_paused_tokens = 0;   // likewise
  TimeUs drain_time = 0;            // predicted for what waits
  // What the next step is kept to, because a request of a key that does not flood may come; 0: it
  // is not.
  double short_step_seconds = 0;
  // Steps that were, by what was flooded: entry i - 1 for Flooded i.
  std::array<uint64_t, kNumFloodable> num_short_steps = {};
  DraftCounts drafts;

  bool operator==(const ScheduleCounts&) const = default;
};

// Why an epoch ends.
enum class EpochEnd {
  kStageLost,  // what it was computing may have brought it down
  // What one stage sent did not reach another: that is no sequence's doing, but a sequence may be
  // what a link does not carry.
  kLinkCut,
};

// What Add decided besides its result.
struct Admission {
  std::optional<Refusal> refusal;       // with ResourceExhausted
  std::vector<SequenceNews> displaced;  // others that waited and had to make room
};

// Not thread-safe: the step loop owns it. `now` never goes back from call to call; callers that
// leave it out have a clock that stands.
class Schedule final {
 public:
  explicit Schedule(ScheduleOptions options);

  // Takes a sequence into the queue. Its ending, if the resumed tokens had already ended it (it is
  // not kept then). Errors: InvalidArgument (no prompt, unknown token, or too long ever to fit),
  // DeadlineExceeded (it has passed), ResourceExhausted (no room; `admission`, if not null, says
  // why; not for one with resumed tokens, which was admitted before).
  absl::StatusOr<std::optional<Ending>> Add(SequenceRequest request, TimeUs now = 0,
                                            Admission* admission = nullptr);
  // Ends a sequence without further news. False if it is not live.
  bool Cancel(SequenceId id);
  // The caller of `id` does not take its tokens: no step that is formed from now on has it. Tokens
  // of steps in flight still come. No effect if it is not live, or suspended already.
  void Suspend(SequenceId id);
  // The caller has caught up: it runs when a place is free, or waits for blocks if it gave up its
  // own. No effect if it is not suspended.
  void Continue(SequenceId id);
  // Ends what waits or runs with a deadline up to `now`. News: of each of them.
  std::vector<SequenceNews> Expire(TimeUs now);
  // The first deadline of a live sequence; kNever if there is none.
  TimeUs next_deadline() const { return deadlines_.empty() ? kNever : deadlines_.begin()->first; }
  // When a caller that is refused should try again.
  TimeUs RetryTime(SequenceId id) const { return RetryAfter(waiting_, rate_, id); }

  // Steps can be formed from now on, with `num_blocks` empty blocks on every stage, which expand
  // the whole blocks of prompts or have one form of attention for all tokens. News: sequences that
  // can never fit such a cache. Requires that no epoch is open.
  std::vector<SequenceNews> OpenEpoch(uint32_t num_blocks, bool expands_prompts = false);
  // A stage was lost, and with it all that the stages hold: steps in flight are forgotten, what ran
  // waits to be computed anew. A sequence that was in flight at two such losses, without a token in
  // between, fails if nothing else was in flight at the second (that is news); else it runs alone
  // until it gets a token, and fails at a loss before that. A cut link is no such loss; but what
  // was in flight at five of them runs alone likewise, and ends as not carried at one more then.
  std::vector<SequenceNews> CloseEpoch(EpochEnd why = EpochEnd::kStageLost);
  bool epoch_open() const { return ledger_.has_value(); }

  // The next micro-batch; nullopt if none is due: no epoch, enough in flight, or nothing to do. A
  // batch without rows only tells the stages what to forget; it comes when nothing else is in
  // flight.
  std::optional<Batch> NextBatch(TimeUs now = 0);
  // Every stage but the last has done all steps up to `step` (with one stage: they were ordered).
  // What they sample may be fed back to steps that are ordered from now on: not earlier, because
  // the first stage would wait for the token while a newcomer's prompt stands behind.
  void ReachLastStage(StepId step) { last_stage_step_ = step; }
  // Takes in the result of the oldest step in flight. News come in the order of its rows. Errors,
  // with nothing changed: DataLoss if the result does not answer that step.
  absl::StatusOr<std::vector<SequenceNews>> Complete(const StepResult& result, TimeUs now = 0);

  // Tokens of prompt and answer that a sequence may have: max_model_len, or less if the cache
  // cannot hold as many.
  uint32_t max_sequence_tokens() const;
  uint32_t num_steps_in_flight() const { return static_cast<uint32_t>(steps_.size()); }
  // Nothing runs, nothing is in flight, and the stages know no sequence.
  bool idle() const {
    return running_.empty() && paused_.empty() && suspended_.empty() && steps_.empty() &&
           forgotten_.empty();
  }
  ScheduleCounts counts() const;
  uint32_t block_tokens() const { return options_.block_tokens; }
  // What steps cost, as learned from their results.
  const StepCost& cost() const { return cost_; }
  // Null if it is not live, or ending.
  const Sequence* Find(SequenceId id) const;
  // Every live sequence, ending ones left out, by id.
  std::vector<SequenceId> LiveIds() const;
  // Sequences that run one by one, each until it has a token: they may be what brings stages down,
  // or what a link does not carry. Linear in the number of sequences.
  size_t num_suspects() const;
  // Null while no epoch is open.
  const BlockLedger* ledger() const { return ledger_.has_value() ? &*ledger_ : nullptr; }

 private:
  struct StepRow {
    SequenceId id;
    bool sample;
    uint32_t position;  // of the token that is sampled, the first of them
    std::vector<TokenId> drafts;
  };
  struct StepInFlight {
    StepId id;
    std::vector<StepRow> rows;
    TimeUs sent = 0;
    uint32_t num_prompt_tokens = 0;
    uint32_t num_decodes = 0;
    StepWork work;
  };

  absl::Status CheckRequest(const SequenceRequest& request) const;
  absl::Status CheckResult(const StepInFlight& step, const StepResult& result) const;
  // What `row` sampled are the tokens from `next` on; moves it behind them.
  absl::Status CheckTokens(StepId step, const StepRow& row, const StepResult& result,
                           size_t* next) const;
  absl::Status CheckDrafts(const StepResult& result) const;
  void CountDrafts(const StepRow& row, size_t num_sampled);
  // `sequence` gets the tokens that the row sampled, as many as it may have; the news of each.
  void AppendTokens(Sequence* sequence, std::span<const StepResult::Sampled> tokens,
                    std::vector<SequenceNews>* news);
  // All that holds blocks waits anew.
  void PreemptAll();
  // The sequence stops running; its blocks are free and the stages will be told.
  void LeaveStages(Sequence* sequence);
  void Preempt(Sequence* sequence);
  // `sequence`, which holds no blocks any more, is to be computed anew: it waits for that, unless
  // it is suspended.
  void StartOver(Sequence* sequence);
  // Tells `sequence` which of its tokens the stages expand.
  void SetForm(Sequence* sequence) const;
  // `sequence` waits, for the first time or again.
  void Enqueue(Sequence* sequence);
  // Ends those that make room for a newcomer.
  void Displace(const std::vector<Sequence*>& leaving, Admission* admission);
  StepInFlight Describe(const Batch& batch, TimeUs now) const;
  // The sequence that has to run alone before any other goes on; null if there is none.
  Sequence* Suspect();
  std::vector<BatchRow> BuildRows(StepId step_id);
  // What keys share.
  GroupCapacity Capacity() const;
  // Each key has its part of the time of `batch`, which is `all` work: as its rows take alone.
  void AddTimes(const Batch& batch, const StepWork& all);
  // A newcomer that came beside other keys, of one that does not flood, shows that such requests
  // come; where every key has more than it can run, none waits for a place of its own.
  void NoteNewcomer(Sequence* sequence, TimeUs now);
  // What the first token of `sequence`, which waits, takes if nothing else is done.
  double SecondsAlone(Sequence* sequence) const;
  // Sets flooded_ and KeyAccount::floods.
  void LookForOthers(TimeUs now);
  double FullStepSeconds() const;
  // A request of a key that does not flood may come while some key floods.
  bool others_may_come() const { return flooded_ != Flooded::kNothing; }
  // All there is are decodes, and two steps of them are one short step for who comes next.
  bool DecodesAreShort() const;
  // lookahead_steps, if any step may be ordered ahead now.
  uint32_t LookaheadSteps() const {
    const bool none = options_.num_speculative_tokens > 0 || others_may_come();
    return none ? 0 : options_.lookahead_steps;
  }
  // How long a step may get by what can wait; 0: no matter, nobody else may come.
  double ShortStepSeconds() const;
  // Blocks that keys which flood leave to the next newcomer.
  uint32_t NewcomerBlocks() const;
  // It has nothing to do but the step that it is at, as far as is known: the stages between it and
  // the last are taken to be at one each.
  bool FirstStageIsFree() const;
  // To be called when something may have ended, or was suspended.
  void NoteIdleness();
  // Ends `sequence` now, or once the steps that it is in are done.
  void End(Sequence* sequence);
  // The sequence of a row of a finished step; null if there is no news to expect of it.
  Sequence* FinishRow(const StepRow& row);

  const ScheduleOptions options_;
  StepCost cost_;
  std::unordered_map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  RequestQueue waiting_;
  RunningSet running_;
  RunningSet paused_;
  RunningSet suspended_;               // that hold blocks
  uint32_t num_suspended_ = 0;         // with those that do not
  bool expands_prompts_ = false;       // the stages, in the open or the last epoch
  std::optional<BlockLedger> ledger_;  // of the open epoch
  std::deque<StepInFlight> steps_;     // oldest first
  std::vector<SequenceId> forgotten_;  // for the stages' next step
  StepId last_step_id_ = 0;            // of the open epoch
  StepId last_stage_step_ = 0;         // the newest that reached the last stage, likewise
  std::set<std::pair<TimeUs, SequenceId>> deadlines_;  // of live sequences that have one
  ServiceRate rate_;
  TimeUs last_completion_ = 0;
  NewcomerRecord newcomers_;  // of keys that do not flood, beside others
  // While one may come and would feel the steps of a key that floods: what it floods.
  Flooded flooded_ = Flooded::kNothing;
  std::array<uint64_t, kNumFloodable> num_short_steps_ = {};
  std::optional<double> owed_seconds_;  // see BatchLimits; of the newest step
  // For the next batch. What is suspended is no work.
  bool work_waited_ = false;
  bool may_have_suspects_ = false;
  uint64_t num_arrivals_ = 0;
  uint64_t num_preemptions_ = 0;
  uint64_t num_pauses_ = 0;
  uint64_t num_suspensions_ = 0;
  PrefixLookups prefix_lookups_;
  DraftCounts draft_counts_;
  uint64_t num_evicted_blocks_ = 0;  // in epochs that are over
};

}  // namespace baton::scheduler
