// The pure heart of the scheduler: every live sequence, the block ledger and the steps in flight.
// Requests, results and changes of membership go in; micro-batches and news of sequences come out.
//
// Life of a sequence: Add -> waiting -> (NextBatch) running -> ... Complete ... -> ended.
//   running -> waiting    preempted for want of blocks, or the group lost a stage: its tokens stay,
//                         its KV is computed anew
//   running -> ending     over while a step in flight still writes its blocks; they are freed when
//                         that step is done
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "services/scheduler/core/batch_builder.h"
#include "services/scheduler/core/block_ledger.h"
#include "services/scheduler/core/request_queue.h"
#include "services/scheduler/core/running_set.h"
#include "services/scheduler/core/sequence.h"

namespace baton::scheduler {

struct ScheduleOptions {
  uint32_t block_tokens = 64;
  uint32_t max_step_tokens = 2048;
  uint32_t max_running = 256;        // also the most rows of a step
  uint32_t max_waiting = 1024;       // newcomers beyond it are refused
  uint32_t max_steps_in_flight = 1;  // micro-batches between the stages
  // Steps ordered beyond these, so that a stage that ends one has the next. 0: a token is known
  // before the step that needs it is ordered.
  uint32_t lookahead_steps = 0;
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
  };
  StepId step_id = 0;
  std::vector<Sampled> tokens;  // of the rows with `sample`, in their order
  std::vector<Fault> faults;
};

// What became of a sequence. After news with an ending its id is unknown here.
struct SequenceNews {
  SequenceId id = 0;
  std::optional<TokenId> token;
  std::optional<Ending> ending;
};

struct ScheduleCounts {
  uint32_t num_running = 0;
  uint32_t num_waiting = 0;
  uint32_t num_used_blocks = 0;
  uint32_t num_total_blocks = 0;
  uint64_t num_preemptions = 0;
  PrefixLookups prefix_lookups;
  uint64_t num_evicted_blocks = 0;  // cached blocks that were given to other sequences

  bool operator==(const ScheduleCounts&) const = default;
};

// Not thread-safe: the step loop owns it.
class Schedule final {
 public:
  explicit Schedule(ScheduleOptions options);

  // Takes a sequence into the queue. Its ending, if the resumed tokens had already ended it (it is
  // not kept then). Errors: InvalidArgument (no prompt, unknown token, or too long ever to fit),
  // ResourceExhausted (queue full).
  absl::StatusOr<std::optional<Ending>> Add(SequenceRequest request);
  // Ends a sequence without further news. False if it is not live.
  bool Cancel(SequenceId id);

  // Steps can be formed from now on, with `num_blocks` empty blocks on every stage. News: sequences
  // that can never fit such a cache. Requires that no epoch is open.
  std::vector<SequenceNews> OpenEpoch(uint32_t num_blocks);
  // A stage was lost, and with it all that the stages hold: steps in flight are forgotten, what ran
  // waits to be computed anew. A sequence that was in flight at two such losses, without a token in
  // between, runs alone until it gets one. News: the sequences that were so at a third.
  std::vector<SequenceNews> CloseEpoch();
  bool epoch_open() const { return ledger_.has_value(); }

  // The next micro-batch; nullopt if none is due: no epoch, enough in flight, or nothing to do. A
  // batch without rows only tells the stages what to forget; it comes when nothing else is in
  // flight.
  std::optional<Batch> NextBatch();
  // Every stage but the last has done all steps up to `step` (with one stage: they were ordered).
  // What they sample may be fed back to steps that are ordered from now on: not earlier, because
  // the first stage would wait for the token while a newcomer's prompt stands behind.
  void ReachLastStage(StepId step) { last_stage_step_ = step; }
  // Takes in the result of the oldest step in flight. News come in the order of its rows. Errors,
  // with nothing changed: DataLoss if the result does not answer that step.
  absl::StatusOr<std::vector<SequenceNews>> Complete(const StepResult& result);

  // Tokens of prompt and answer that a sequence may have: max_model_len, or less if the cache
  // cannot hold as many.
  uint32_t max_sequence_tokens() const;
  uint32_t num_steps_in_flight() const { return static_cast<uint32_t>(steps_.size()); }
  // Nothing runs, nothing is in flight, and the stages know no sequence.
  bool idle() const { return running_.empty() && steps_.empty() && forgotten_.empty(); }
  ScheduleCounts counts() const;
  // Null if it is not live, or ending.
  const Sequence* Find(SequenceId id) const;
  // Every live sequence, ending ones left out, by id.
  std::vector<SequenceId> LiveIds() const;
  // Null while no epoch is open.
  const BlockLedger* ledger() const { return ledger_.has_value() ? &*ledger_ : nullptr; }

 private:
  struct StepRow {
    SequenceId id;
    bool sample;
    uint32_t position;  // of the token that is sampled
  };
  struct StepInFlight {
    StepId id;
    std::vector<StepRow> rows;
  };

  absl::Status CheckRequest(const SequenceRequest& request) const;
  absl::Status CheckResult(const StepInFlight& step, const StepResult& result) const;
  // The sequence stops running; its blocks are free and the stages will be told.
  void LeaveStages(Sequence* sequence);
  void Preempt(Sequence* sequence);
  // The sequence that has to run alone before any other goes on; null if there is none.
  Sequence* Suspect() const;
  std::vector<BatchRow> BuildRows(StepId step_id);
  // Ends `sequence` now, or once the steps that it is in are done.
  void End(Sequence* sequence);
  // The sequence of a row of a finished step; null if there is no news to expect of it.
  Sequence* FinishRow(const StepRow& row);

  const ScheduleOptions options_;
  std::unordered_map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  RequestQueue waiting_;
  RunningSet running_;
  std::optional<BlockLedger> ledger_;  // of the open epoch
  std::deque<StepInFlight> steps_;     // oldest first
  std::vector<SequenceId> forgotten_;  // for the stages' next step
  StepId last_step_id_ = 0;            // of the open epoch
  StepId last_stage_step_ = 0;         // the newest that has reached the last stage, likewise
  uint64_t num_arrivals_ = 0;
  uint64_t num_preemptions_ = 0;
  PrefixLookups prefix_lookups_;
  uint64_t num_evicted_blocks_ = 0;  // in epochs that are over
};

}  // namespace baton::scheduler
